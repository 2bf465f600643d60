-- needs: effects
-- What messages hold that are done: read for many at once, with the records that it is about.
local ON_RECORDS = { put = true, remove = true, touch = true, incr = true }

-- The effects of being done; false where follow-ups go with them.
local function effects_of(on_end)
  local effects = {}
  for _, on in ipairs(cmsgpack.unpack(on_end)) do
    if on[1] == 'any' or on[1] == 'done' then
      if on[3][1] then
        return false
      end
      for _, effect in ipairs(on[2]) do
        effects[#effects + 1] = effect
      end
    end
  end
  return effects
end

-- Effects by id, of those whose row says that they hold something.
local function held_of(ids, found)
  local holding, held, keys = {}, {}, {}
  for i = 1, #ids do
    if found[i] and found[i]:byte(CANCEL_AT + 2) == 1 then
      holding[#holding + 1] = ids[i]
    end
  end
  if #holding > 0 then
    local on_ends, born = call('HMGET', N .. 'on_end', unpack(holding)), call('HMGET', N .. 'born', unpack(holding))
    for i, id in ipairs(holding) do
      borns[id] = borns[id] or born[i]
      local effects = effects_of(on_ends[i] or '\144')
      held[id] = effects
      for _, effect in ipairs(effects or {}) do
        if ON_RECORDS[effect[1]] and records[effect[2]] == nil then
          keys[#keys + 1] = effect[2]
        end
      end
    end
  end
  if #keys > 0 then
    local values = call('HMGET', N .. 'record', unpack(keys))
    for i, key in ipairs(keys) do
      records[key] = values[i] and cmsgpack.unpack(values[i])
    end
  end
  return held
end
