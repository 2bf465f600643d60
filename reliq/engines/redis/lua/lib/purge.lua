-- needs: records moves write
-- What a message held: with its row goes what says how long that lives on, so now it is written.
local function held_by_itself(id)
  local held = {}
  for key in pairs(lives_of(id)) do
    local value = record_of(key)
    if value and value[4] == id then
      held[key] = present(value)
    end
  end
  return held
end

local function part_with(held)
  for key, value in pairs(held) do
    if value and not lapsed(value) then
      keep(key, value)
    else
      erase(key)
    end
  end
end

-- The record of an ended message goes; its id stays a duplicate until its window is over.
local function erase_message(id, r)
  local held = held_by_itself(id)
  for _, name in ipairs({ 'message', 'born', 'payload', 'value', 'error', 'story', 'on_end', 'waiting' }) do
    hash(name, id, false)
  end
  set('disturbed', id, false)
  if r[PUBLISHED] + r[WINDOW] > now then
    zset('tomb', id, r[PUBLISHED] + r[WINDOW])
  end
  rows[id], touched[id] = false, nil
  part_with(held)
end

-- Records whose time is over, at most `limit`: how many.  A second that is not over yet is looked through where it has
-- few; what was replayed or removed meanwhile is no longer due with it, and goes from its list when the second is over.
local function purge_gone(limit)
  local purged, second = 0, math.floor(now / 1000)
  for _, name in ipairs(call('ZRANGEBYSCORE', N .. 'gone', '-inf', second, 'LIMIT', 0, 100)) do
    local key = N .. name
    local whole = tonumber(name:sub(6)) < second
    local ids = call('LRANGE', key, 0, limit - purged - 1)
    fetch(ids)
    local kept = {}
    for _, id in ipairs(ids) do
      local r = row(id)
      if r and r[STATE] > IS_LEASED and gone_at(r) <= now then
        erase_message(id, r)
        purged = purged + 1
      elseif not whole then
        kept[#kept + 1] = id
      end
    end
    if #ids > #kept then
      call('LTRIM', key, #ids, -1)
      if #kept > 0 then
        call('RPUSH', key, unpack(kept))
      end
    end
    if call('EXISTS', key) == 0 then
      call('ZREM', N .. 'gone', name)
    end
    write()
    if purged >= limit then
      break
    end
  end
  return purged
end
