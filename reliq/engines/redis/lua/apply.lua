-- Check guards, then apply effects.
-- KEYS  1 namespace
-- ARGV  1 now; 2 {guards, effects} as MessagePack; 3 the call's name (lib/said.lua)
-- Returns a MessagePack of what a guard found, or of how many effects were skipped
-- O(n log m)
-- needs: finish guards said write wake
local before = said_before()
if before then
  return before
end
local asked = cmsgpack.unpack(ARGV[2])
local refused = first_refused(asked[1])
if refused then
  return cmsgpack.pack(refused)
end
take(asked[1])
local skipped = apply(asked[2])
finish()
write()
wake()
return say(cmsgpack.pack(skipped))
