-- needs: ready owners plain
local function lease(id, r, name, seq)
  leave(id, r)
  r[STATE], r[REASON], r[OWNER], r[CLAIM], r[CLAIMED] = IS_LEASED, '', name, seq, now
  r[ATTEMPT] = r[ATTEMPT] + 1
  r[FENCE] = math.max(r[FENCE] + 1, now * 1000)
  set('held:' .. name, id, true)
  touched[id] = true
end

local function first_charged(queues)
  for _, queue in ipairs(queues) do
    local id = call('ZRANGE', N .. 'charged:' .. queue, 0, 0)[1]
    if id then
      return id
    end
  end
end

-- The long way: an answer for each that can be leased now.
local function lease_row(id, name, seq)
  local r = row(id)
  if expired(r) then
    conclude(id, r, IS_DROPPED, 'expired')
    finish()
  elseif r[STATE] == IS_READY then -- an expired one's `on_end` may have ended it
    lease(id, r, name, seq)
    return { id, r[FENCE], r[ATTEMPT], r[RETRIES], r[CRASHES], r[SNOOZES], r[PUBLISHED], r[DUE] }
  end
end

-- Up to `limit` ready messages, the first queue that has some first.
local function lease_ready(queues, limit, name, seq)
  local metas = {}
  local holds = 'held:' .. name
  for _, queue in ipairs(queues) do
    local more, line = true, 'ready:' .. queue
    while more and #metas < limit do
      local wanted = limit - #metas
      local found = call('ZRANGE', N .. line, 0, wanted - 1)
      more = #found == wanted
      fetch(found)
      for _, id in ipairs(found) do
        local meta = rows[id] == nil and lease_plain(id, raws[id], name, seq)
        if meta then
          raws[id] = nil
          zset(line, id, false)
          set(holds, id, true)
        else
          meta = lease_row(id, name, seq)
        end
        metas[#metas + 1] = meta
      end
      if #found > 0 then
        write()
      end
    end
    if #metas >= limit then
      if more and call('EXISTS', N .. line) == 1 then
        count(woken, queue, 1) -- whoever leaves work behind passes the wake on
      end
      break
    end
  end
  return metas
end

local function earliest(queues)
  local first = false
  for _, queue in ipairs(queues) do
    local score = call('ZRANGE', N .. 'due:' .. queue, 0, 0, 'WITHSCORES')[2]
    local due = score and math.floor(tonumber(score) / TIES)
    if due and (not first or due < first) then
      first = due
    end
  end
  return first
end
