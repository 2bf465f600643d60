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

local function tied(moment, accepted)
  return string.format('%d', math.min(moment, FAR) * TIES + accepted % TIES)
end

-- A message waits in its queue: until it is due, or else in a line at a place.
local function line_up(id, queue, due, line, place, expires, accepted)
  zset((due and 'due:' or line) .. queue, id, due and tied(due, accepted) or string.format('%d', place))
  if expires > 0 then
    zset('expiring', id, tied(expires, accepted))
  end
  set('queues', queue, true)
  if not due then
    count(woken, queue, 1)
  elseif due <= now + SOON then
    soon[queue] = math.min(soon[queue] or due, due)
  end
end

-- A row that left its place waits again, ready or due.
local function wait(id, r, state, reason)
  r[STATE], r[REASON] = state, reason or ''
  local line, place = r[CRASHES] > 0 and 'charged:' or 'ready:', (9 - r[PRIORITY]) * BAND + r[PLACE]
  line_up(id, r[QUEUE], state == IS_DUE and r[DUE], line, place, r[EXPIRES], r[ACCEPTED])
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
