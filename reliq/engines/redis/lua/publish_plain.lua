-- Accept messages that have neither guards nor effects: the same as publish.lua in fewer steps, as most calls are.
-- KEYS  1 namespace
-- ARGV  1 now; 2 the items (newborn.lua) as MessagePack; 3.. their payloads, then what else they name
-- Returns how many, when all were accepted; else a MessagePack list: 0 accepted, 1 duplicate
-- O(n log m) for n items among m that wait
-- needs: newborn wake_queue
local items, ids, seen, answers, plain = cmsgpack.unpack(ARGV[2]), {}, {}, {}, true
for i = 1, #items do
  ids[i] = items[i][1]
end
local found = call('HMGET', N .. 'message', unpack(ids))
local tombs = call('EXISTS', N .. 'tomb') == 1
local rows, payloads, lines, n = {}, {}, {}, 0
local place = tonumber(call('HINCRBY', N .. 'book', 'place', #items)) - #items
local accepted = tonumber(call('HGET', N .. 'book', 'accepted') or 0)
for i = 1, #items do
  local item, id = items[i], ids[i]
  local ends = tombs and call('ZSCORE', N .. 'tomb', id)
  if found[i] or seen[id] or (ends and tonumber(ends) > now) then
    answers[i], plain = 1, false
  else
    local due, number = due_of(item), accepted + n + 1
    local expires = expires_of(item, due)
    seen[id], answers[i], n = true, 0, n + 1
    rows[2 * n - 1], rows[2 * n] = id, newborn(item, due, number, place + i)
    payloads[2 * n - 1], payloads[2 * n] = id, ARGV[i + 2]
    if item[15] ~= '' then
      call('HSET', N .. 'on_end', id, ARGV[item[15]])
    end
    if expires > 0 then
      call('ZADD', N .. 'expiring', expires * TIES + number % TIES, id)
    end
    local late = due > now
    local key = (late and 'due:' or 'ready:') .. item[2]
    local line = lines[key]
    if not line then
      line = { queue = item[2], calls = 0 }
      lines[key] = line
    end
    line[#line + 1] = late and due * TIES + number % TIES or (9 - item[4]) * BAND + place + i
    line[#line + 1] = id
    line.calls = line.calls + (due <= now + SOON and 1 or 0)
  end
end
if n > 0 then
  call('HSET', N .. 'message', unpack(rows))
  call('HSET', N .. 'payload', unpack(payloads))
  call('HINCRBY', N .. 'book', 'accepted', n)
  for key, line in pairs(lines) do
    call('ZADD', N .. key, unpack(line))
    call('SADD', N .. 'queues', line.queue)
    wake_queue(line.queue, line.calls)
  end
end
return plain and n or cmsgpack.pack(answers)
