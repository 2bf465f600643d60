-- All that is leased to an owner.
-- KEYS  1 namespace
-- ARGV  1 now; 2 owner
-- Returns a MessagePack list of {id, fence}
-- O(n log n)
-- needs: owners
local found = {}
for i, id in ipairs(held_by(ARGV[2])) do
  found[i] = { id, row(id)[FENCE] }
end
return cmsgpack.pack(found)
