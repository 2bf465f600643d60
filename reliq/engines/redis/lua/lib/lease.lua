-- needs: ready owners plain got
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

-- What a delivery says that is leased already.
local function gather_row(got, id, body)
  local r = row(id)
  gather(got, id, struct.pack(DELIVERED, unpack(r, ATTEMPT, FENCE)), struct.pack(BORN, unpack(r, PUBLISHED, ALL)), body)
end

-- The long way.
local function lease_row(id, name, seq, got, body)
  local r = row(id)
  if expired(r) then
    conclude(id, r, IS_DROPPED, 'expired')
    finish()
  elseif r[STATE] == IS_READY then -- an expired one's `on_end` may have ended it
    lease(id, r, name, seq)
    gather_row(got, id, body)
    count(woken, r[QUEUE], promoted[id] and -1 or 0)
  end
end

local function lease_some(found, line, name, seq, got, bodies)
  local held, coming, n = {}, {}, 0
  local before, born = call('HMGET', N .. 'message', unpack(found)), call('HMGET', N .. 'born', unpack(found))
  for i = 1, #found do
    local id, raw, head = found[i], nil, nil
    if before[i] and born[i] and rows[id] == nil and raws[id] == nil then
      raw, head = lease_of(before[i], name, seq)
    end
    if raw then
      n = n + 1
      held[n], coming[2 * n - 1], coming[2 * n] = id, id, raw
      raws[id], borns[id] = raw, born[i]
      gather(got, id, head, born[i], bodies[i])
    elseif not row(id) then
      zset(line, id, false) -- it was deleted beside us
    else
      lease_row(id, name, seq, got, bodies[i])
      zset(line, id, false) -- it may stand in another one, where it came again after that
    end
  end
  if n > 0 then
    frees[#frees + 1] = { 'ZREM', line, held }
    adds[#adds + 1] = { 'SADD', 'held:' .. name, held }
    adds[#adds + 1] = { 'HSET', 'message', coming }
  end
end

-- Up to `limit` ready messages, the first queue that has some first.
local function lease_ready(queues, limit, name, seq, got)
  for _, queue in ipairs(queues) do
    local more, line = true, 'ready:' .. queue
    while more and #got.ids < limit and not is_full do
      local wanted, bodies = limit - #got.ids, nil
      local found = call('ZRANGE', N .. line, 0, wanted - 1)
      more = #found == wanted
      if #found > 0 then
        found, bodies = fitting(found)
      end
      if #found > 0 then
        lease_some(found, line, name, seq, got, bodies)
        write()
      end
    end
  end
  if #got.ids >= limit or is_full then
    pass_on(queues)
  end
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
