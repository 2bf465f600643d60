-- needs: bins endings
-- Records that messages hold and free, or complete, by themselves when they are done: what is to be written for many at
-- once.  Nothing where the long way must decide: what they hold is not theirs any more, or they do more than that.
local MANY = 3000 -- keys; a command takes about 8000 arguments
local NOTHING = {}

-- Whether a record is held by this message, and its time is not over: it was live as long as the message was leased.
local function is_of(raw, id)
  local low, high = raw:byte(HOLDER_AT, HOLDER_AT + 1)
  if low + 256 * high ~= #id or raw:sub(HOLDER_AT + 2, HOLDER_AT + 1 + #id) ~= id then
    return false
  end
  local expires = struct.unpack('<i8', raw, EXPIRES_AT)
  return expires < 0 or expires > now
end

-- The effects of a plan, if they only remove records of the message's own, or let them live on; else false.
local function common(plan)
  local effects = plan.done
  for _, effect in ipairs(effects or NOTHING) do
    local removes = effect[1] == 'remove' and effect[3] == true and not effect[4]
    local touches = effect[1] == 'touch' and effect[3] and effect[4] == true and not effect[5]
    effects = (removes or touches) and effects
  end
  return effects
end

local function line_of(lines, name)
  local line = lines[name]
  if not line then
    line = {}
    lines[name] = line
  end
  return line
end

-- A record gets another life, and perhaps other data.
local function write_anew(plan, key, raw, id, ttl, data)
  local version, _, before = struct.unpack('<I8i8I8', raw)
  local bin = bin_of(now + ttl)
  if bin ~= before then
    local out, into = line_of(plan.out, raw:sub(BIN_AT, HOLDER_AT - 1)), line_of(plan.into, bin)
    out[#out + 1], into[#into + 1] = key, key
  end
  version, data = version + (data and 1 or 0), data or raw:sub(HOLDER_AT + 2 + #id)
  local written = plan.written
  written[#written + 1], written[#written + 2] = key, struct.pack(RECORD, version, now + ttl, bin, #id, id) .. data
end

-- The effects of each, with where its keys begin; the keys.  Nothing where some are not common.
local function brought_by(ids)
  local all, places, keys = {}, {}, {}
  local brought = call('HMGET', N .. 'on_end', unpack(ids))
  for i = 1, #ids do
    places[i], all[i] = #keys, NOTHING
    if brought[i] then
      local plan = endings_of(brought[i], keys)
      if plan.common == nil then
        plan.common = common(plan)
      end
      all[i] = plan.common
    end
    if not all[i] then
      return
    end
  end
  return all, places, keys
end

-- `puts`: what settlements write into one record of each message (settle.lua), or nil; `numbers`: where in there.
local function free_swiftly(ids, puts, numbers)
  local all, places, keys = brought_by(ids)
  if not all or #keys > MANY then
    return
  end
  local found = #keys > 0 and call('HMGET', N .. 'record', unpack(keys))
  local plan = { removed = {}, written = {}, out = {}, into = {} }
  local removed, last, line = plan.removed, nil, nil
  for i = 1, #ids do
    local id, effects, completed = ids[i], all[i], puts and puts[2][numbers[i]]
    for j = 1, #effects do
      local effect = effects[j]
      local place = places[i] + effect[2]
      local key, raw = keys[place], found[place]
      if not raw or not is_of(raw, id) then
        return
      end
      found[place] = false -- what comes to it a second time goes the long way
      if effect[1] == 'touch' then
        local completes = key == completed
        if completes and effect[3] ~= puts[1] then
          return
        end
        write_anew(plan, key, raw, id, effect[3], completes and puts[3][numbers[i]])
        completed = not completes and completed
      else
        local bin = raw:sub(BIN_AT, HOLDER_AT - 1)
        if bin ~= last then
          last, line = bin, line_of(plan.out, bin)
        end
        removed[#removed + 1], line[#line + 1] = key, key
      end
    end
    if completed then -- it is none that lives on
      return
    end
  end
  return plan
end

local function write_freed(plan)
  if #plan.removed > 0 then
    call('HDEL', N .. 'record', unpack(plan.removed))
  end
  for bytes, line in pairs(plan.out) do
    local bin = struct.unpack('<I8', bytes)
    if bin > 0 then
      call('SREM', string.format('%slapsing:%.0f', N, bin), unpack(line))
    end
  end
  if #plan.written > 0 then
    call('HSET', N .. 'record', unpack(plan.written))
  end
  for bin, line in pairs(plan.into) do
    local second = string.format('%.0f', bin)
    call('SADD', N .. 'lapsing:' .. second, unpack(line))
    call('ZADD', N .. 'lapsing', second, second)
  end
end
