-- needs: bins endings
-- Records that settlements complete: what is to be written for many messages at once.  Nothing where the long way must
-- decide: a record is not its message's any more, or the message does more when it is done than let records go.

-- Whether a record is held by this message, and its time is not over: it was live as long as the message was leased.
local function is_of(raw, id)
  local low, high = raw:byte(HOLDER_AT, HOLDER_AT + 1)
  if low + 256 * high ~= #id or raw:find(id, HOLDER_AT + 2, true) ~= HOLDER_AT + 2 then
    return false
  end
  local expires = struct.unpack('<i8', raw, EXPIRES_AT)
  return expires < 0 or expires > now
end

local function line_of(lines, name)
  local line = lines[name]
  if not line then
    line = {}
    lines[name] = line
  end
  return line
end

-- Whether being done, which does nothing that has to be written, lets each of these records live for so long.
local function live_on(ids, keys, ttl)
  local brought = call('HMGET', N .. 'on_end', unpack(ids))
  for i = 1, #ids do
    local named, life = {}, nil
    local plan = brought[i] and endings_of(brought[i], named)
    for number, left in pairs(plan and plan.lives or named) do
      life = named[number] == keys[i] and left or life
    end
    if life ~= ttl then
      return false
    end
  end
  return true
end

-- `puts`: what settlements write into one record of each message (settle.lua).
local function complete_swiftly(ids, puts)
  local ttl, keys = puts[1], puts[2]
  if not live_on(ids, keys, ttl) then
    return
  end
  local found, bin = call('HMGET', N .. 'record', unpack(keys)), bin_of(now + ttl)
  local written, out, into = {}, {}, {}
  for i = 1, #ids do
    local id, key, raw = ids[i], keys[i], found[i]
    if not raw or not is_of(raw, id) then
      return
    end
    local version, _, before = struct.unpack('<I8i8I8', raw)
    if bin ~= before then
      local line = line_of(out, before)
      line[#line + 1], into[#into + 1] = key, key
    end
    written[2 * i - 1] = key
    written[2 * i] = struct.pack(RECORD, version + 1, now + ttl, bin, -1, #id, id) .. puts[3][i]
  end
  return { written, out, into, bin }
end

local function write_completed(written, out, into, bin)
  for before, line in pairs(out) do
    if before > 0 then
      call('SREM', string.format('%slapsing:%.0f', N, before), unpack(line))
    end
  end
  call('HSET', N .. 'record', unpack(written))
  if #into > 0 then
    local second = string.format('%.0f', bin)
    call('SADD', N .. 'lapsing:' .. second, unpack(into))
    call('ZADD', N .. 'lapsing', second, second)
  end
end
