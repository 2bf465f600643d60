-- Drop a waiting message, or ask the owner of a leased one to stop it.
-- KEYS  1 namespace
-- ARGV  1 now; 2 id; 3 reason; 4 the call's name (lib/said.lua)
-- Returns -1 unknown, else the state it was in
-- O(log m)
-- needs: finish room said write wake
local told = said_before()
if told then
  return tonumber(told)
end
local r = row(ARGV[2])
if not r then
  return -1
end
local before = r[STATE]
if before < IS_LEASED then
  conclude(ARGV[2], r, IS_DROPPED, ARGV[3])
  finish()
elseif before == IS_LEASED then
  make_room()
  r[CANCEL] = 1
  touched[ARGV[2]] = true
  set('stop:' .. r[OWNER], ARGV[2], true)
end
write()
wake()
if before < IS_LEASED then
  say(before)
end
return before
