-- needs: effects endings
-- What messages hold that are done: read for many at once, with the records that it is about.

-- By id, of those whose row says that they hold something: the effects of being done, or false where the long way must
-- decide; and the keys.
local function held_of(ids, found)
  local holding, held, keys, wanted = {}, {}, {}, {}
  for i = 1, #ids do
    if found[i] and found[i]:byte(CANCEL_AT + 2) > 0 then
      holding[#holding + 1] = ids[i]
    end
  end
  local brought = #holding > 0 and call('HMGET', N .. 'on_end', unpack(holding))
  for i, id in ipairs(holding) do
    keys[id], held[id] = {}, {}
    if brought[i] then
      held[id] = endings_of(brought[i], keys[id]).done
    end
    for _, key in ipairs(keys[id]) do
      if records[key] == nil then
        wanted[#wanted + 1] = key
      end
    end
  end
  fetch_records(wanted)
  return held, keys
end
