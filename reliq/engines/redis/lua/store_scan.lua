-- Live records in the order of their keys.
-- KEYS  1 namespace
-- ARGV  1 now; 2 from, as ZRANGEBYLEX wants it; 3 to, likewise; 4 how many
-- Returns a MessagePack list of {key, record}
-- O(n log m)
-- needs: records
local found, from, limit, more = {}, ARGV[2], tonumber(ARGV[4]), true
while more and #found < limit do
  local keys = call('ZRANGEBYLEX', N .. 'keys', from, ARGV[3], 'LIMIT', 0, 100)
  for _, key in ipairs(keys) do
    local value = #found < limit and live(key)
    if value then
      found[#found + 1] = { key, value }
    end
    from = '(' .. key
  end
  more = #keys == 100
end
return cmsgpack.pack(found)
