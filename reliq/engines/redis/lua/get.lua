-- The record of a message; one that is live may be waited for.
-- KEYS  1 namespace
-- ARGV  1 now; 2 id; 3 the channel to tell when it has ended, or ''
-- Returns nil, or { row, payload, value, error, steps }
-- O(1)
-- needs: room story
local id = ARGV[2]
local raw, r = whole(id), row(id)
if not r then
  return false
end
if ARGV[3] ~= '' and r[STATE] <= IS_LEASED then
  local waiting = call('HGET', N .. 'waiting', id) or ''
  if not waiting:find(ARGV[3], 1, true) then
    make_room()
    call('HSET', N .. 'waiting', id, waiting .. ARGV[3] .. ' ')
  end
end
local steps = steps_of(id, r)
for _, step in ipairs(steps) do
  step[6] = string.format('%.0f', step[6])
end
local value = r[HAS_VALUE] == 1 and read('value', id)
local err = r[HAS_ERROR] == 1 and read('error', id)
return { raw, asleep[id] or read('payload', id), value, err, steps }
