-- Some of the messages there are, those that fit.
-- KEYS  1 namespace
-- ARGV  1 now; 2 cursor; 3 how many to look at; 4 states as digits, or ''; 5 queue, or ''; 6 task, or ''; 7 the
--       beginning of the reason, or ''; 8 the number after which they were accepted
-- Returns { next cursor, id, row, id, row, ... }
-- O(n)
-- needs: rows
local states, queue, task, reason, after = ARGV[4], ARGV[5], ARGV[6], ARGV[7], tonumber(ARGV[8])
local found = call('HSCAN', N .. 'message', ARGV[2], 'COUNT', ARGV[3])
local reply, ids = { found[1] }, {}
for i = 1, #found[2], 2 do
  ids[#ids + 1] = found[2][i]
end
local born = #ids > 0 and call('HMGET', N .. 'born', unpack(ids))
for i = 1, #ids do
  local raw = born[i] and found[2][2 * i] .. born[i] -- it may have been deleted beside us
  local r = raw and { struct.unpack(LAYOUT, raw) }
  if
    r
    and r[ACCEPTED] > after
    and (states == '' or states:find(r[STATE], 1, true))
    and (queue == '' or r[QUEUE] == queue)
    and (task == '' or r[TASK] == task)
    and r[REASON]:sub(1, #reason) == reason
  then
    reply[#reply + 1], reply[#reply + 2] = ids[i], raw
  end
end
return reply
