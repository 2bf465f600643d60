-- How many messages of each queue are in each live state.
-- KEYS  1 namespace
-- ARGV  1 now; 2 a queue, or '' for all; 3 how many ready ones are looked at for the oldest, 0 for none
-- Returns a MessagePack list of {queue, ready, due, leased, since when the oldest ready one waits or false}
-- O(queues + leased + looked at)
-- needs: owners
local most, found, names, held = tonumber(ARGV[3]), {}, {}, {}
for _, owner in ipairs(call('HKEYS', N .. 'owner')) do
  for _, id in ipairs(held_by(owner)) do
    count(held, row(id)[QUEUE], 1)
  end
end
if ARGV[2] ~= '' then
  names[ARGV[2]] = true
else
  for _, queue in ipairs(call('SMEMBERS', N .. 'queues')) do
    names[queue] = true
  end
  for queue in pairs(held) do
    names[queue] = true
  end
end

local function look(ids, oldest)
  fetch(ids)
  for _, id in ipairs(ids) do
    local due = row(id) and row(id)[DUE] -- it may have been deleted beside us
    oldest = oldest and due and math.min(oldest, due) or oldest or due
  end
  return oldest
end

for queue in pairs(names) do
  local ready, charged = call('ZCARD', N .. 'ready:' .. queue), call('ZCARD', N .. 'charged:' .. queue)
  local oldest = false
  if most > 0 then
    oldest = look(call('ZRANGE', N .. 'charged:' .. queue, 0, most - 1), oldest)
    if ready <= most then
      oldest = look(call('ZRANGE', N .. 'ready:' .. queue, 0, -1), oldest)
    else -- too many to look at all: the first of each priority
      for band = 0, 9 do
        local from, to = band * BAND, '(' .. string.format('%.0f', (band + 1) * BAND)
        oldest = look(call('ZRANGEBYSCORE', N .. 'ready:' .. queue, from, to, 'LIMIT', 0, 100), oldest)
      end
    end
  end
  found[#found + 1] = { queue, ready + charged, call('ZCARD', N .. 'due:' .. queue), held[queue] or 0, oldest }
end
return cmsgpack.pack(found)
