-- needs: wake_queue
-- Who waits for an ending stands in `waiting`.
local ended, woken = {}, {} -- ids; how many messages by queue

local function count(counts, name, by)
  counts[name] = (counts[name] or 0) + by
end

-- Whoever leaves work behind passes the wake on.
local function pass_on(queues)
  for _, queue in ipairs(queues) do
    if call('EXISTS', N .. 'ready:' .. queue) == 1 then
      count(woken, queue, 1)
    end
  end
end

local function tell(ids)
  local found = call('HMGET', N .. 'waiting', unpack(ids))
  for i = 1, #ids do
    if found[i] then
      call('HDEL', N .. 'waiting', ids[i])
      for channel in found[i]:gmatch('%S+') do
        call('PUBLISH', channel, ids[i])
      end
    end
  end
end

local function wake()
  for queue, n in pairs(woken) do
    wake_queue(queue, n)
  end
  if #ended > 0 and call('EXISTS', N .. 'waiting') == 1 then
    for first = 1, #ended, 1000 do
      tell({ unpack(ended, first, math.min(#ended, first + 999)) })
    end
  end
  woken, ended = {}, {}
end
