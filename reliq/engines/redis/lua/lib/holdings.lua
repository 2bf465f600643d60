-- needs: bins endings
-- Records that messages hold, and that live on or are completed when these are done: what is to be written for many at
-- once.  (What only goes with them is not looked at.)  Nothing where the long way must decide: what they hold is not theirs
-- any more, or they do more than that.
local MANY = 3000 -- keys; a command takes about 8000 arguments
local NOTHING = {}

-- Whether a record is held by this message, and its time is not over: it was live as long as the message was leased.
local function is_of(raw, id)
  local low, high = raw:byte(HOLDER_AT, HOLDER_AT + 1)
  if low + 256 * high ~= #id or raw:find(id, HOLDER_AT + 2, true) ~= HOLDER_AT + 2 then
    return false
  end
  local expires = struct.unpack('<i8', raw, EXPIRES_AT)
  return expires < 0 or expires > now
end

-- The effects of a plan that let records of the message's own live on, if there are no others but those by which records
-- only go; else false.
local function common(plan)
  local touches = plan.done and {}
  for _, effect in ipairs(touches and plan.done or NOTHING) do
    if effect[1] == 'touch' and effect[3] and effect[4] == true and not effect[5] then
      touches[#touches + 1] = effect
    elseif not plan.going[effect[2]] then
      return false
    end
  end
  return touches
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
  local version, _, before, goes = struct.unpack('<I8i8I8B', raw)
  local bin = bin_of(now + ttl)
  if bin ~= before then
    local out, into = line_of(plan.out, raw:sub(BIN_AT, GOES_AT - 1)), line_of(plan.into, bin)
    out[#out + 1], into[#into + 1] = key, key
  end
  version, data = version + (data and 1 or 0), data or raw:sub(HOLDER_AT + 2 + #id)
  local written = plan.written
  written[#written + 1], written[#written + 2] = key, struct.pack(RECORD, version, now + ttl, bin, goes, #id, id) .. data
end

-- The effects of each, and the keys that they name, one after the other.  Nothing where some are not common.
local function brought_by(ids)
  local all, wanted = {}, {}
  local brought = call('HMGET', N .. 'on_end', unpack(ids))
  for i = 1, #ids do
    all[i] = NOTHING
    if brought[i] then
      local keys = {}
      local plan = endings_of(brought[i], keys)
      if plan.common == nil then
        plan.common = common(plan)
      end
      all[i] = plan.common
      for j = 1, #(all[i] or NOTHING) do
        wanted[#wanted + 1] = keys[all[i][j][2]]
      end
    end
    if not all[i] then
      return
    end
  end
  return all, wanted
end

-- `puts`: what settlements write into one record of each message (settle.lua), or nil; `numbers`: where in there.
local function live_on_swiftly(ids, puts, numbers)
  local all, keys = brought_by(ids)
  if not all or #keys > MANY then
    return
  end
  local found = #keys > 0 and call('HMGET', N .. 'record', unpack(keys))
  local plan, seen, at = { written = {}, out = {}, into = {} }, {}, 0
  for i = 1, #ids do
    local id, effects, completed = ids[i], all[i], puts and puts[2][numbers[i]]
    for j = 1, #effects do
      at = at + 1
      local key, raw, ttl = keys[at], found[at], effects[j][3]
      if not raw or seen[key] or not is_of(raw, id) then -- what comes to one a second time goes the long way
        return
      end
      seen[key] = true
      local completes = key == completed
      if completes and ttl ~= puts[1] then
        return
      end
      write_anew(plan, key, raw, id, ttl, completes and puts[3][numbers[i]])
      completed = not completes and completed
    end
    if completed then -- it is none that lives on
      return
    end
  end
  return plan
end

local function write_living_on(plan)
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
