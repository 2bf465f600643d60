-- The owners that are live.
-- KEYS  1 namespace
-- ARGV  1 now
-- Returns a MessagePack list of {owner, since, expires, held, about as JSON}
-- O(n)
-- needs: base
local found, all = {}, call('HGETALL', N .. 'owner')
for i = 1, #all, 2 do
  local o = cmsgpack.unpack(all[i + 1])
  found[#found + 1] = { all[i], o[1], o[2], call('SCARD', N .. 'held:' .. all[i]), o[6] }
end
return cmsgpack.pack(found)
