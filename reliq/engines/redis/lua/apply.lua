-- Check guards, then apply effects.
-- KEYS  1 namespace
-- ARGV  1 now; 2 {guards, effects} as MessagePack
-- Returns a MessagePack of what a guard found, or of how many effects were skipped
-- O(n log m)
-- needs: finish guards write wake
local asked = cmsgpack.unpack(ARGV[2])
local refused = first_refused(asked[1])
if refused then
  return cmsgpack.pack(refused)
end
take(asked[1], now)
local skipped = apply(asked[2], now)
skipped = skipped + finish()
write()
wake()
return cmsgpack.pack(skipped)
