-- How many messages of each queue are in each live state.
-- KEYS  1 namespace
-- ARGV  1 now; 2 a queue, or '' for all; 3 how many ready ones are looked at for the oldest, 0 for none
-- Returns a MessagePack list of {queue, ready, due, leased, since when the oldest ready one waits or false}
-- O(queues + looked at)
-- needs: moves
local names = ARGV[2] ~= '' and { ARGV[2] } or call('SMEMBERS', N .. 'queues')
local most, found = tonumber(ARGV[3]), {}

local function look(ids, oldest)
  fetch(ids)
  for _, id in ipairs(ids) do
    local due = row(id)[DUE]
    oldest = oldest and math.min(oldest, due) or due
  end
  return oldest
end

for i, queue in ipairs(names) do
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
  local held = tonumber(call('HGET', N .. 'leased', queue) or 0)
  found[i] = { queue, ready + charged, call('ZCARD', N .. 'due:' .. queue), held, oldest }
end
return cmsgpack.pack(found)
