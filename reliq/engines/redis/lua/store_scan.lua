-- Some of the live records under a prefix.
-- KEYS  1 namespace
-- ARGV  1 now; 2 cursor; 3 what matches their keys, as SCAN wants it; 4 how many to look at
-- Returns a MessagePack of {next cursor, list of {key, record}}
-- O(n)
-- needs: records
local found, some = call('HSCAN', N .. 'record', ARGV[2], 'MATCH', ARGV[3], 'COUNT', ARGV[4]), {}
for i = 1, #found[2], 2 do
  local key = found[2][i]
  records[key] = parsed(found[2][i + 1])
  local value = live(key)
  if value then
    some[#some + 1] = { key, value }
  end
end
return cmsgpack.pack({ found[1], some })
