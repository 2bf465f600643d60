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
    local key = N .. 'charged:' .. queue
    local id = call('ZRANGE', key, 0, 0)[1]
    while id and not row(id) do -- it was deleted beside us
      call('ZREM', key, id)
      id = call('ZRANGE', key, 0, 0)[1]
    end
    if id then
      return id
    end
  end
end

-- The long way: whether it could be leased.
local function lease_row(id, name, seq)
  local r = row(id)
  if expired(r) then
    conclude(id, r, IS_DROPPED, 'expired')
    finish()
  elseif r[STATE] == IS_READY then -- an expired one's `on_end` may have ended it
    lease(id, r, name, seq)
    return true
  end
end

local function lease_some(found, line, name, seq, ids)
  local held, coming, n = {}, {}, 0
  local before = call('HMGET', N .. 'message', unpack(found))
  for i = 1, #found do
    local id = found[i]
    local raw = before[i] and rows[id] == nil and raws[id] == nil and lease_plain(before[i], name, seq)
    if raw then
      n = n + 1
      held[n], coming[2 * n - 1], coming[2 * n] = id, id, raw
      raws[id] = raw
      ids[#ids + 1] = id
    elseif not row(id) then
      zset(line, id, false) -- it was deleted beside us
    elseif lease_row(id, name, seq) then
      ids[#ids + 1] = id
    end
  end
  if n > 0 then
    frees[#frees + 1] = { 'ZREM', line, held }
    adds[#adds + 1] = { 'SADD', 'held:' .. name, held }
    adds[#adds + 1] = { 'HSET', 'message', coming }
  end
end

-- Whoever leaves work behind passes the wake on.
local function pass_on(queues)
  for _, queue in ipairs(queues) do
    if call('EXISTS', N .. 'ready:' .. queue) == 1 then
      count(woken, queue, 1)
    end
  end
end

-- What one claim carries: its answer must arrive within the deadline, and the server ends the connection of a client
-- that listens to a channel and has 8 MiB in hand for a minute, or 32 at once (client-output-buffer-limit pubsub).
local MOST = 4194304
local carried, payloads, is_full = 0, {}, false

-- Those of the next messages that the answer has room for, at least one in all; their payloads go with it.
local function fitting(ids)
  local found = call('HMGET', N .. 'payload', unpack(ids))
  for i = 1, #ids do
    local payload = found[i] or ''
    carried = carried + #payload
    if carried > MOST and carried > #payload then
      is_full = true
      return { unpack(ids, 1, i - 1) }
    end
    payloads[ids[i]] = payload
  end
  return ids
end

-- Up to `limit` ready messages, the first queue that has some first.
local function lease_ready(queues, limit, name, seq)
  local ids = {}
  for _, queue in ipairs(queues) do
    local more, line = true, 'ready:' .. queue
    while more and #ids < limit and not is_full do
      local wanted = limit - #ids
      local found = call('ZRANGE', N .. line, 0, wanted - 1)
      more = #found == wanted
      if #found > 0 then
        found = fitting(found)
      end
      if #found > 0 then
        lease_some(found, line, name, seq, ids)
        write()
      end
    end
  end
  if #ids >= limit or is_full then
    pass_on(queues)
  end
  return ids
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
