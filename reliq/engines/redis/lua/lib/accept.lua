-- needs: moves newborn
-- A new message.
local SMALL = 1024 -- bytes of a payload that go where the message goes while it waits for its time

local function known(id)
  if row(id) then
    return true
  end
  local ends = call('ZSCORE', N .. 'tomb', id)
  return ends and tonumber(ends) > now
end

local function accept(item, payload)
  local id, due, on_end = item[1], due_of(item), item[10]
  local place = due > now and 0 or number('place')
  local r = { struct.unpack(LAYOUT, newborn(item, due, place, number('accepted'))) }
  rows[id] = r
  if r[STATE] == IS_DUE and #payload <= SMALL then
    asleep[id] = payload
  else
    hash('payload', id, payload)
  end
  if on_end ~= '' then
    hash('on_end', id, ARGV[on_end] or raw(on_end))
  end
  wait(id, r, r[STATE])
  return r
end
