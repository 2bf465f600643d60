-- Make an owner live.
-- KEYS  1 namespace
-- ARGV  1 now; 2 owner; 3 lease in ms; 4 about, as JSON; 5 how long a grave is kept, in ms
-- Returns 1, or 0 for one that was buried
-- O(log n)
-- needs: owners room write
local name, span = ARGV[2], tonumber(ARGV[3])
local buried = call('ZSCORE', N .. 'grave', name)
if buried and tonumber(buried) + tonumber(ARGV[5]) > now then
  return 0
end
local o = owner_of(name) or { now, 0, 0, -1, '', ARGV[4], 0 }
o[2], o[3] = now + span, span
keep_owner(name, o)
make_room()
write()
return 1
