-- needs: finish write
-- What time alone brings about, at most `limit` of it: what waits in one of the states from `first` on, and whose `moment`
-- has come.  Of anything else the row was deleted beside us, and has perhaps come again: it does not stand here.
local function due_by(key, limit, first, moment)
  local ids, found = call('ZRANGEBYSCORE', N .. key, '-inf', (now + 1) * TIES - 1, 'LIMIT', 0, limit), {}
  fetch(ids)
  for _, id in ipairs(ids) do
    local r = row(id)
    if r and r[STATE] >= first and r[STATE] < IS_LEASED and r[moment] > 0 and r[moment] <= now then
      found[#found + 1] = id
    else
      call('ZREM', N .. key, id)
    end
  end
  return found
end

local function expired(r)
  return r[EXPIRES] > 0 and r[EXPIRES] <= now
end

local function drop_expired(limit)
  local dropped = {}
  for _, id in ipairs(due_by('expiring', limit, IS_READY, EXPIRES)) do
    local r = row(id)
    if r[STATE] < IS_LEASED then -- an earlier one's `on_end` may have ended it
      conclude(id, r, IS_DROPPED, 'expired')
      finish()
      dropped[#dropped + 1] = id
    end
  end
  if #dropped > 0 then
    write()
  end
  return dropped
end

local promoted = {} -- others are woken for them, unless this script leases them itself

local function promote_due(queue, limit)
  local ids = due_by('due:' .. queue, limit, IS_DUE, DUE)
  for _, id in ipairs(ids) do
    promote(id, row(id))
    promoted[id] = true
  end
  if #ids > 0 then
    write()
  end
  return #ids
end
