-- A process is dead: take back what it held.
-- KEYS  1 namespace
-- ARGV  1 now; 2 owner; 3 what it had started, {id, fence} each, as MessagePack, or ''; 4 settlements of the guilty
--       as MessagePack, or ''; 5.. their values and errors
-- Returns { 1 when it was there, what moved as MessagePack }
-- O(n log m)
-- needs: bury write wake
if not owner_of(ARGV[2]) and call('EXISTS', N .. 'held:' .. ARGV[2]) == 0 then
  return { 0, cmsgpack.pack({}) }
end
local started, moved
if ARGV[3] ~= '' then
  started = {}
  for _, receipt in ipairs(cmsgpack.unpack(ARGV[3])) do
    started[receipt[1]] = receipt[2]
  end
end
moved = {}
bury(ARGV[2], started, ARGV[4] ~= '' and cmsgpack.unpack(ARGV[4]), moved)
write()
wake()
return { 1, cmsgpack.pack(moved) }
