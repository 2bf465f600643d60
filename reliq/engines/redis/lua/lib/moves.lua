-- needs: story
-- The moves of a message.  Each keeps the row, the structure it stands in and the counters together.
local pending = {} -- ended, but `on_end` is still to apply

local function stands_in(r)
  if r[STATE] == IS_DUE then
    return 'due:' .. r[QUEUE]
  end
  return (r[CRASHES] > 0 and 'charged:' or 'ready:') .. r[QUEUE]
end

local function leave(id, r)
  if r[STATE] == IS_LEASED then
    set('held:' .. r[OWNER], id, false)
    if r[CANCEL] == 1 then
      set('stop:' .. r[OWNER], id, false)
    end
  elseif r[STATE] < IS_LEASED then
    zset(stands_in(r), id, false)
    if r[EXPIRES] > 0 then
      zset('expiring', id, false)
    end
  end
end

local function tied(moment, r)
  return string.format('%d', math.min(moment, FAR) * TIES + r[ACCEPTED] % TIES)
end

-- A row that left its place waits again, ready or due.
local function wait(id, r, state, reason)
  r[STATE], r[REASON] = state, reason or ''
  if state == IS_DUE then
    zset(stands_in(r), id, tied(r[DUE], r))
  else
    zset(stands_in(r), id, string.format('%d', (9 - r[PRIORITY]) * BAND + r[PLACE]))
  end
  if r[EXPIRES] > 0 then
    zset('expiring', id, tied(r[EXPIRES], r))
  end
  set('queues', r[QUEUE], true)
  if state == IS_READY then
    count(woken, r[QUEUE], 1)
  elseif r[DUE] <= now + SOON then
    soon[r[QUEUE]] = math.min(soon[r[QUEUE]] or r[DUE], r[DUE])
  end
  touched[id] = true
end

local function promote(id, r)
  leave(id, r)
  r[PROMOTED], r[PLACE] = now, number('place') -- what makes it due again has told of the promotion before
  wait(id, r, IS_READY)
end

-- A leased message waits until `due`.
local function postpone(id, r, due, reason, attempt, err)
  leave(id, r)
  due = math.max(due, now)
  remember(id, r, 'due', reason, attempt, due, err, r[OWNER])
  r[DUE], r[ATTEMPT] = due, attempt
  if err then
    hash('error', id, err)
    r[HAS_ERROR] = 1
  end
  wait(id, r, IS_DUE, reason)
end

-- A leased message is ready again at its old place.
local function give_back(id, r, refund, reason)
  leave(id, r)
  local attempt = r[ATTEMPT] - (refund and 1 or 0)
  remember(id, r, 'given_back', reason, attempt, false, false, r[OWNER])
  r[ATTEMPT] = attempt
  wait(id, r, IS_READY, reason)
end

-- When the record of an ended message goes.
local function gone_at(r)
  return r[ENDED] + (r[STATE] == IS_FAILED and r[KEEP_FAILED] or r[KEEP])
end

-- A live message ends; whoever makes the step calls `finish`.
local function conclude(id, r, state, reason, value, err)
  leave(id, r)
  if value and r[KEEP_RESULT] == 1 then
    hash('value', id, value)
    r[HAS_VALUE] = 1
  end
  if state == IS_DONE then
    if r[HAS_ERROR] == 1 then
      hash('error', id, false)
      r[HAS_ERROR] = 0
    end
  elseif err then
    hash('error', id, err)
    r[HAS_ERROR], r[ERRED] = 1, 1
  end
  r[STATE], r[REASON], r[ENDED] = state, reason or '', now
  bin(id, gone_at(r))
  touched[id] = true
  count(endings, NAMES[state], 1)
  ended[#ended + 1] = id
  if r[HAS_END] > 0 then
    freeing[id] = true
    pending[#pending + 1] = { id, state, value }
  end
end
