-- needs: moves
-- Owners: {since, expires, lease, claim, alone, about}; `held:OWNER` has what is leased to one.
local function owner_of(name)
  local raw = call('HGET', N .. 'owner', name)
  return raw and cmsgpack.unpack(raw)
end

local function keep_owner(name, o)
  hash('owner', name, cmsgpack.pack(o))
end

-- What an owner holds, in the order in which it was given.
local function held_by(name)
  local ids = call('SMEMBERS', N .. 'held:' .. name)
  for first = 1, #ids, 1000 do
    fetch({ unpack(ids, first, math.min(#ids, first + 999)) })
  end
  table.sort(ids, function(a, b)
    local x, y = row(a), row(b)
    if x[CLAIM] ~= y[CLAIM] then
      return x[CLAIM] < y[CLAIM]
    end
    if x[PRIORITY] ~= y[PRIORITY] then
      return x[PRIORITY] > y[PRIORITY]
    end
    return x[PLACE] < y[PLACE]
  end)
  return ids
end
