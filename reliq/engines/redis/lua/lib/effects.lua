-- needs: records moves
-- Effects: each is applied, or skipped (false) where it finds nothing it may act on.
local acts = {}

function acts.put(effect, due) -- key, value, ttl, holder, from_due
  local value = live(effect[2])
  if effect[5] and value and value[4] and value[4] ~= effect[5] then
    return false
  end
  disturb(value, effect[5])
  put(effect[2], effect[3], until_(effect[4], effect[6], due), effect[5])
  return true
end

function acts.remove(effect) -- key, holder, value
  local value = live(effect[2])
  if not value or (effect[3] and value[4] ~= effect[3]) or (effect[4] and value[1] ~= effect[4]) then
    return false
  end
  disturb(value, effect[3])
  erase(effect[2])
  return true
end

function acts.touch(effect, due) -- key, ttl, holder, from_due
  local value = live(effect[2])
  if not value or (effect[4] and value[4] ~= effect[4]) then
    return false
  end
  disturb(value, effect[4])
  local ends = until_(effect[3], effect[5], due)
  if ends ~= value[3] then
    keep(effect[2], { value[1], value[2], ends, value[4] }, value)
  end
  return true
end

function acts.incr(effect) -- key, by, ttl
  local value = live(effect[2])
  if value and not value[1]:match('^%s*[+-]?%d+%s*$') then
    return false
  end
  local sum = effect[3] + (value and tonumber(value[1]) or 0)
  if sum >= EXACT or sum <= -EXACT then
    return false
  end
  if value then
    put(effect[2], string.format('%.0f', sum), value[3], value[4])
  else
    put(effect[2], string.format('%.0f', sum), until_(effect[4]), false)
  end
  return true
end

function acts.cancel(effect) -- id, reason
  local r = row(effect[2])
  if not r or r[STATE] >= IS_LEASED then
    return false
  end
  conclude(effect[2], r, IS_DROPPED, effect[3])
  return true
end

function acts.index_put(effect) -- index, member, at
  zset('index:' .. effect[2], effect[3], effect[4])
  return true
end

function acts.index_remove(effect) -- index, member
  local members = zsets['index:' .. effect[2]]
  local at = members and members[effect[3]]
  if at == nil then
    at = call('ZSCORE', N .. 'index:' .. effect[2], effect[3])
  end
  zset('index:' .. effect[2], effect[3], false)
  return at and true or false
end

local function apply(effects, due)
  local skipped = 0
  for _, effect in ipairs(effects) do
    if not acts[effect[1]](effect, due) then
      skipped = skipped + 1
    end
  end
  return skipped
end
