-- needs: moves newborn records
-- A new message.
local SMALL = 1024 -- bytes of a payload that go where the message goes while it waits for its time

local tombs

local function known(id)
  if row(id) then
    return true
  end
  if tombs == nil then
    tombs = call('EXISTS', N .. 'tomb') == 1
  end
  local ends = tombs and call('ZSCORE', N .. 'tomb', id)
  return ends and tonumber(ends) > now
end

-- What a message brings along for its end: HAS_END of its row.
local function bring(id, brought)
  local keys, found = {}, {}
  local plan = endings_of(brought, keys)
  hash('on_end', id, brought)
  lives[id] = found
  for number, life in pairs(plan.lives) do
    found[keys[number]] = life
  end
  return plan.is_quiet and QUIET or 1
end

-- Records that had this holder before it was accepted.
local function adopt(id)
  for key in pairs(lives[id]) do
    local value = record_of(key)
    if value and value[4] == id then
      write_record(key, value, value[5])
    end
  end
end

-- Its row is made of bytes that many have in common; its columns are taken apart when somebody asks for them.
local function accept(item, payload)
  local id, due, brought = item[1], due_of(item), item[10]
  local is_due, expires, accepted = due > now, expires_of(item, due), number('accepted')
  local place = is_due and 0 or number('place')
  local has_end = brought ~= '' and bring(id, ARGV[brought] or raw(brought)) or 0
  local first = newborn(item, is_due and IS_DUE or IS_READY, expires, has_end)
  local born = struct.pack(BORN, now, due, place, accepted, 0)
  raws[id], borns[id], rows[id] = first, born, nil
  if is_due and #payload <= SMALL then
    -- However many wait for their time, the others cost no more for it.
    asleep[id] = payload
    hash('later', id, struct.pack('<I4', #first + #born) .. first .. born .. payload)
  else
    hash('message', id, first)
    hash('born', id, born)
    hash('payload', id, payload)
  end
  line_up(id, item[3], is_due and due, 'ready:', (9 - item[4]) * BAND + place, expires, accepted)
  if has_end > 0 then
    adopt(id)
  end
end
