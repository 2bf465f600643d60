-- Delete the record of an ended message.
-- KEYS  1 namespace
-- ARGV  1 now; 2 id; 3 the call's name (lib/said.lua)
-- Returns 1, or 0 where there is none
-- O(log m)
-- needs: purge said write
local r = row(ARGV[2])
if said_before() then
  return 1
end
if not r or r[STATE] <= IS_LEASED then
  return 0
end
erase_message(ARGV[2], r)
write()
say(1)
return 1
