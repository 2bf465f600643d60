-- needs: rows wake_queue
-- Who waits for an ending stands in `waiting`.
local ended, woken, soon = {}, {}, {} -- ids; how many messages by queue; the earliest that waits from now on, by queue

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
  -- Each that idles knows when the first of its queues is due.  Of an earlier one all hear, not one alone: that one may
  -- have other work by then, and nobody else would come in time.
  for queue, due in pairs(soon) do
    local first = call('ZRANGE', N .. 'due:' .. queue, 0, 0, 'WITHSCORES')[2]
    if first and math.floor(tonumber(first) / TIES) >= due then
      woken[queue] = math.huge
    end
  end
  for queue, n in pairs(woken) do
    wake_queue(queue, n)
  end
  if #ended > 0 and call('EXISTS', N .. 'waiting') == 1 then
    for first = 1, #ended, 1000 do
      tell({ unpack(ended, first, math.min(#ended, first + 999)) })
    end
  end
  woken, ended, soon = {}, {}, {}
end
