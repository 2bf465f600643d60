-- Let a live owner live on.
-- KEYS  1 namespace
-- ARGV  1 now; 2 owner; 3 lease in ms
-- Returns nil for one that is not live, else the ids that were asked to stop
-- O(stopped)
-- needs: owners room write
local o = owner_of(ARGV[2])
if not o then
  return false
end
o[2], o[3] = now + ARGV[3], tonumber(ARGV[3])
keep_owner(ARGV[2], o)
make_room()
write()
return call('SMEMBERS', N .. 'stop:' .. ARGV[2])
