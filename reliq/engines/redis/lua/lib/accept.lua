-- needs: moves newborn
-- A new message.
local function raw(text) -- bytes that travelled as text
  if not text:find('[\194\195]') then
    return text
  end
  return (text:gsub('([\194\195])([\128-\191])', function(high, low)
    return high == '\194' and low or string.char(low:byte() + 64)
  end))
end

local function known(id)
  if row(id) then
    return true
  end
  local ends = call('ZSCORE', N .. 'tomb', id)
  return ends and tonumber(ends) > now
end

local function accept(item, payload)
  local id = item[1]
  local due = due_of(item)
  local on_end = item[15]
  local accepted = number('accepted')
  local r = { struct.unpack(LAYOUT, newborn(item, due, accepted, due > now and 0 or number('place'))) }
  rows[id] = r
  hash('payload', id, payload)
  if on_end ~= '' then
    hash('on_end', id, ARGV[on_end] or raw(on_end))
  end
  if due > now then
    wait(id, r, IS_DUE)
  else
    wait(id, r, IS_READY)
  end
  set('queues', item[2], true)
  return r
end
