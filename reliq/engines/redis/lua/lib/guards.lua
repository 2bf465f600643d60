-- needs: records moves
-- Guards are checked before anything is written; the first that is refused tells what it found:
-- {its number, data, version, expires, holder, state, due}, with false for what there is not.
local function found(i, value, id)
  local r = id and row(id)
  return {
    i - 1, value and value[1], value and value[2], value and value[3], value and value[4],
    r and NAMES[r[STATE]], r and r[DUE],
  }
end

local function may_take(guard, value) -- add: key, value, ttl, holder, or_dead, from_due, replaces, or_leased
  if not value[4] then
    return false
  end
  if value[4] == guard[5] then
    return true
  end
  local holder = row(value[4])
  if not holder or holder[STATE] > IS_LEASED then
    return guard[6]
  end
  return holder[STATE] == IS_LEASED and guard[9] or holder[STATE] < IS_LEASED and guard[8]
end

local function refuses(guard, value)
  local kind = guard[1]
  if kind == 'add' then
    return value and not may_take(guard, value)
  elseif kind == 'absent' then
    return value
  elseif kind == 'equals' then
    return not value or value[1] ~= guard[3]
  end
  return (value and value[2] or 0) ~= guard[3] -- version
end

local function first_refused(guards)
  for i, guard in ipairs(guards) do
    if guard[1] == 'not_leased' or guard[1] == 'leased' then -- id, fence
      local r = row(guard[2])
      local fence = r and r[STATE] == IS_LEASED and r[FENCE] or nil
      if fence ~= guard[3] then
        return found(i, false, guard[2])
      end
    else
      local value = live(guard[2])
      if refuses(guard, value) then
        return found(i, value, value and value[4])
      end
    end
  end
end

-- Whether a holder that stands in the way had expired, and ends now; whoever makes the step calls `finish`.
local function ends_expired(holder)
  local r = holder and row(holder)
  if not r or r[STATE] >= IS_LEASED or r[EXPIRES] == 0 or r[EXPIRES] > now then
    return false
  end
  conclude(holder, r, IS_DROPPED, 'expired')
  return true
end

-- Write what the `add` guards take, and drop the messages that they replace; all guards hold.
local function take(guards, id)
  for _, guard in ipairs(guards) do
    if guard[1] == 'add' then
      local value = live(guard[2])
      local before = value and value[4]
      disturb(value, guard[5])
      put(guard[2], guard[3], until_(guard[4], guard[7], id), guard[5])
      local r = guard[8] and before and before ~= guard[5] and row(before)
      if r and r[STATE] < IS_LEASED then
        conclude(before, r, IS_DROPPED, guard[8])
      end
    end
  end
end
