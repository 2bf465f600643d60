-- needs: finish write
-- What time alone brings about, at most `limit` of it.  What has no row any more, because somebody deleted it beside
-- us, is forgotten.
local function due_by(key, limit)
  local ids, found = call('ZRANGEBYSCORE', N .. key, '-inf', (now + 1) * TIES - 1, 'LIMIT', 0, limit), {}
  fetch(ids)
  for _, id in ipairs(ids) do
    if row(id) then
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
  for _, id in ipairs(due_by('expiring', limit)) do
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
  local ids = due_by('due:' .. queue, limit)
  for _, id in ipairs(ids) do
    promote(id, row(id))
    promoted[id] = true
  end
  if #ids > 0 then
    write()
  end
  return #ids
end
