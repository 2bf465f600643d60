-- needs: records moves
-- Effects: each is applied, or skipped (false) where it finds nothing it may act on.  What a message brought along for
-- its end (endings.lua) has a number for each key, and `true` for the message itself as the holder.
local acts = {}

local function own(holder, id)
  return holder == true and id or holder
end

function acts.put(effect, key, id) -- key, value, ttl, holder, from_due
  local value, holder = live(key), own(effect[5], id)
  if holder and value and value[4] and value[4] ~= holder then
    return false
  end
  disturb(value, holder)
  put(key, effect[3], until_(effect[4], effect[6], id), holder)
  return true
end

function acts.remove(effect, key, id) -- key, holder, value
  local value, holder = live(key), own(effect[3], id)
  if not value or (holder and value[4] ~= holder) or (effect[4] and value[1] ~= effect[4]) then
    return false
  end
  disturb(value, holder)
  erase(key)
  return true
end

function acts.touch(effect, key, id) -- key, ttl, holder, from_due
  local value, holder = live(key), own(effect[4], id)
  if not value or (holder and value[4] ~= holder) then
    return false
  end
  disturb(value, holder)
  local ends = until_(effect[3], effect[5], id)
  if ends ~= value[3] then
    keep(key, { value[1], value[2], ends, value[4] })
  end
  return true
end

function acts.incr(effect, key) -- key, by, ttl
  local value = live(key)
  if value and not value[1]:match('^%s*[+-]?%d+%s*$') then
    return false
  end
  local sum = effect[3] + (value and tonumber(value[1]) or 0)
  if sum >= EXACT or sum <= -EXACT then
    return false
  end
  if value then
    put(key, string.format('%.0f', sum), value[3], value[4])
  else
    put(key, string.format('%.0f', sum), until_(effect[4]), false)
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

-- Apply effects to what they name.  `id`: the message that this step is about, if any; `keys`: what its numbers stand for.
local function apply(effects, id, keys)
  local skipped = 0
  for _, effect in ipairs(effects) do
    if not acts[effect[1]](effect, keys and keys[effect[2]] or effect[2], id) then
      skipped = skipped + 1
    end
  end
  return skipped
end
