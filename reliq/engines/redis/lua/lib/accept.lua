-- needs: moves newborn records
-- A new message.
local SMALL = 1024 -- bytes of a payload that go where the message goes while it waits for its time

local function known(id)
  if row(id) then
    return true
  end
  local ends = call('ZSCORE', N .. 'tomb', id)
  return ends and tonumber(ends) > now
end

-- What a message brings along for its end.  Its row says where being done has nothing to do, for what it removes goes by
-- itself; that is written into records that had this holder before it was accepted.
local function bring(id, r, brought)
  local keys = {}
  local plan = endings_of(brought, keys)
  hash('on_end', id, brought)
  r[HAS_END] = plan.only_goes and ONLY_GOES or 1
  for number in pairs(plan.going) do
    local value = record_of(keys[number])
    if value and value[4] == id and not value[6] then
      write_record(keys[number], value, value[5])
    end
  end
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
    bring(id, r, ARGV[on_end] or raw(on_end))
  end
  wait(id, r, r[STATE])
  return r
end
