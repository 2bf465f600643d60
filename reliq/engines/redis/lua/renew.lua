-- Let a live owner live on.
-- KEYS  1 namespace
-- ARGV  1 now; 2 owner; 3 lease in ms
-- Returns nil for one that is not live, else {how many ms ago somebody swept, or -1; the ids that were asked to stop}
-- O(stopped)
-- needs: owner room
local o = owner_of(ARGV[2])
if not o then
  return false
end
o[2], o[3] = now + ARGV[3], tonumber(ARGV[3])
make_room()
call('HSET', N .. 'owner', ARGV[2], cmsgpack.pack(o))
local swept = tonumber(call('HGET', N .. 'book', 'swept') or nil)
return { swept and math.max(0, now - swept) or -1, call('SMEMBERS', N .. 'stop:' .. ARGV[2]) }
