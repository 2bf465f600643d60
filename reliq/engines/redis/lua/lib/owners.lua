-- needs: moves owner
local function keep_owner(name, o)
  hash('owner', name, cmsgpack.pack(o))
end

-- What an owner holds, in the order in which it was given.
local function held_by(name)
  local all, ids = call('SMEMBERS', N .. 'held:' .. name), {}
  for first = 1, #all, 1000 do
    fetch({ unpack(all, first, math.min(#all, first + 999)) })
  end
  for _, id in ipairs(all) do
    if row(id) then
      ids[#ids + 1] = id
    else
      set('held:' .. name, id, false) -- it was deleted beside us
    end
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

-- What is left of the batch that a claim gave: the queues in their order, then what they do not name.
local function batch_again(queues, name, seq)
  local lines, rest, ids = {}, {}, {}
  for i, queue in ipairs(queues) do
    lines[i] = {}
    lines[queue] = lines[i]
  end
  for _, id in ipairs(held_by(name)) do
    local r = row(id)
    if r[CLAIM] == seq then
      local line = lines[r[QUEUE]] or rest
      line[#line + 1] = id
    end
  end
  lines[#queues + 1] = rest
  for _, line in ipairs(lines) do
    for _, id in ipairs(line) do
      ids[#ids + 1] = id
    end
  end
  return ids
end
