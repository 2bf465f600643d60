-- Accept messages that are due at once, do not expire and hold nothing: the same as publish.lua in fewer steps.
-- KEYS  1 namespace
-- ARGV  1 now; 2 runs of {number of the argument that has the end of their rows, queue, priority, ids} as MessagePack;
--       3.. their payloads, in order, then the ends of rows
-- Returns how many, when all were accepted; else a MessagePack list: 0 accepted, 1 duplicate
-- O(n log m) for n messages among m that wait
-- needs: rows wake_queue
local runs, ids = cmsgpack.unpack(ARGV[2]), {}
for i = 1, #runs do
  local own = runs[i][4]
  for j = 1, #own do
    ids[#ids + 1] = own[j]
  end
end
local found = call('HMGET', N .. 'message', unpack(ids))
local later = call('EXISTS', N .. 'later') == 1 and call('HMGET', N .. 'later', unpack(ids)) or {}
local tombs = call('EXISTS', N .. 'tomb') == 1
local book = call('HMGET', N .. 'book', 'accepted', 'place')
local accepted, place = tonumber(book[1]) or 0, tonumber(book[2]) or 0
local rows, born, payloads, seen, answers, n, at = {}, {}, {}, {}, {}, 0, 0
local head, lines = ('\0'):rep(HEAD_END), {}
for i = 1, #runs do
  local run = runs[i]
  local row, line = head .. ARGV[run[1]], lines[run[2]]
  local band = (9 - run[3]) * BAND
  if not line then
    line = {}
    lines[run[2]] = line
  end
  for _ = 1, #run[4] do
    at = at + 1
    local id = ids[at]
    local ends = tombs and call('ZSCORE', N .. 'tomb', id)
    if found[at] or later[at] or seen[id] or (ends and tonumber(ends) > now) then
      answers[at] = 1
    else
      n, seen[id], answers[at] = n + 1, true, 0
      rows[2 * n - 1], rows[2 * n] = id, row
      born[2 * n - 1], born[2 * n] = id, struct.pack(BORN, now, now, place + n, accepted + n, 0)
      payloads[2 * n - 1], payloads[2 * n] = id, ARGV[at + 2]
      line[#line + 1] = string.format('%d', band + place + n)
      line[#line + 1] = id
    end
  end
end
if n > 0 then
  call('HSET', N .. 'book', 'accepted', string.format('%d', accepted + n), 'place', string.format('%d', place + n))
  call('HSET', N .. 'message', unpack(rows))
  call('HSET', N .. 'born', unpack(born))
  call('HSET', N .. 'payload', unpack(payloads))
  for queue, line in pairs(lines) do
    if #line > 0 then
      call('ZADD', N .. 'ready:' .. queue, unpack(line))
      call('SADD', N .. 'queues', queue)
      wake_queue(queue, #line / 2)
    end
  end
end
return n == at and n or cmsgpack.pack(answers)
