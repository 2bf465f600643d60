-- Some of the messages there are, those that fit.
-- KEYS  1 namespace
-- ARGV  1 now; 2 cursor, '0' at first; 3 how many to look at; 4 states as digits, or ''; 5 queue, or ''; 6 task, or '';
--       7 the beginning of the reason, or ''; 8 the number after which they were accepted
-- Returns { next cursor, '0' when that was all; id, row, id, row, ... }
-- O(n)
-- needs: unit
local states, queue, task, reason, after = ARGV[4], ARGV[5], ARGV[6], ARGV[7], tonumber(ARGV[8])
-- `later` first: what leaves it meanwhile comes into the other one.
local in_message = ARGV[2]:sub(1, 1) == 'm'
local found = call('HSCAN', N .. (in_message and 'message' or 'later'), ARGV[2]:match('%d+'), 'COUNT', ARGV[3])
local next_cursor, ids = found[1], {}
if in_message == (next_cursor ~= '0') then
  next_cursor = 'm' .. next_cursor
end
for i = 1, #found[2], 2 do
  local id, value = found[2][i], found[2][i + 1]
  ids[#ids + 1], raws[id], laters[id] = id, in_message and value, not in_message and value
end
local born = in_message and #ids > 0 and call('HMGET', N .. 'born', unpack(ids)) or {}
local reply = { next_cursor }
for i, id in ipairs(ids) do
  borns[id] = born[i]
  local raw, r = whole(id), row(id) -- it may have been deleted beside us
  if
    r
    and r[ACCEPTED] > after
    and (states == '' or states:find(r[STATE], 1, true))
    and (queue == '' or r[QUEUE] == queue)
    and (task == '' or r[TASK] == task)
    and r[REASON]:sub(1, #reason) == reason
  then
    reply[#reply + 1], reply[#reply + 2] = id, raw
  end
end
return reply
