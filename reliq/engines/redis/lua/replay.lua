-- A new life for a failed message.
-- KEYS  1 namespace
-- ARGV  1 now; 2 id; 3 queue, or ''; 4 its guards as MessagePack, or ''; 5 the call's name
--       (lib/said.lua)
-- Returns 1, or 0 where it has not failed, or what a guard found as MessagePack
-- O(log m)
-- needs: finish guards said write wake
local id = ARGV[2]
local r = row(id)
if said_before() then
  return 1
end
if not r or r[STATE] ~= IS_FAILED then
  return 0
end
local guards = ARGV[4] ~= '' and cmsgpack.unpack(ARGV[4]) or {}
local refused = first_refused(guards)
if refused then
  return cmsgpack.pack(refused)
end
remember(id, r, 'ready', 'replayed', 0, false, false, false)
hash('value', id, false)
hash('error', id, false)
count(endings, 'failed', -1)
r[QUEUE] = ARGV[3] ~= '' and ARGV[3] or r[QUEUE]
r[ATTEMPT], r[RETRIES], r[CRASHES], r[SNOOZES], r[CANCEL], r[EXPIRES] = 0, 0, 0, 0, 0, 0
r[LIFE], r[DUE], r[ENDED] = r[LIFE] + 1, now, 0
r[HAS_VALUE], r[HAS_ERROR], r[ERRED] = 0, 0, 0
r[PLACE] = number('place')
wait(id, r, IS_READY, 'replayed')
take(guards, id)
finish()
write()
wake()
say(1)
return 1
