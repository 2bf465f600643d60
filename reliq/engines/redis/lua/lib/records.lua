-- needs: bins endings
-- The store's records: {data, version, expires or false, holder or false, bin, life or false}.  A record whose holder is
-- leased is live whatever its time.  Data travels as text in which each character is one byte, and is kept so.
--
-- Most of what being done does to what a message holds is to remove it or to let it live for a while.  That is in the
-- record from the first (`life`), and is reckoned from the holder's end by whoever looks; nobody writes it until the holder
-- is purged.  So a lock costs nothing when its message is done.
local records = {}

local function parsed(raw)
  local version, expires, bin, life, holder, at = struct.unpack(RECORD, raw)
  return { raw:sub(at), version, expires >= 0 and expires, holder ~= '' and holder, bin, life >= 0 and life }
end

-- Read many at once.
local function fetch_records(keys)
  for first = 1, #keys, 1000 do
    local last = math.min(#keys, first + 999)
    local found = call('HMGET', N .. 'record', unpack(keys, first, last))
    for i = first, last do
      local raw = found[i - first + 1]
      records[keys[i]] = raw and parsed(raw)
    end
  end
end

local function record_of(key)
  local value = records[key]
  if value == nil then
    local raw = call('HGET', N .. 'record', key)
    value = raw and parsed(raw)
    records[key] = value
  end
  return value
end

local function lapsed(value)
  if not value[3] or value[3] > now then
    return false
  end
  local holder = value[4] and row(value[4])
  return not (holder and holder[STATE] == IS_LEASED)
end

-- A record as it is now that its holder may be done, or false.  What ends in this step by the long way sees to what it
-- holds itself.
local function present(value)
  local life, holder = value[6], value[4]
  if not life or freeing[holder] then
    return value
  end
  local r = row(holder)
  if r and r[STATE] ~= IS_DONE then
    return value
  end
  if not r or (value[3] and value[3] <= r[ENDED]) then
    return false
  end
  return { value[1], value[2], math.min(r[ENDED] + life, EXACT), holder, value[5], false }
end

local function live(key)
  local value = record_of(key)
  value = value and present(value)
  return value and not lapsed(value) and value
end

local lives = {} -- by message: what its being done leaves to records that it holds, by their keys

local function lives_of(id)
  local found = lives[id]
  if not found then
    local r, keys = row(id), {}
    local brought = r[HAS_END] > 0 and read('on_end', id)
    found = {}
    for number, life in pairs(brought and endings_of(brought, keys).lives or keys) do
      found[keys[number]] = life
    end
    lives[id] = found
  end
  return found
end

-- What is left to a record of this key when its holder, which is not done yet, is done; false: nothing is said of that.
local function life_of(holder, key)
  local r, raw = rows[holder], raws[holder]
  if r == nil and not raw then
    r = row(holder)
  end
  local state = r and r[STATE] or r == nil and raw:byte()
  return state and state ~= IS_DONE and lives_of(holder)[key] or false
end

local function into_bin(key, before, after)
  if before ~= after then
    if before > 0 then
      set(string.format('lapsing:%.0f', before), key, false)
    end
    if after > 0 then
      set(string.format('lapsing:%.0f', after), key, true)
      zset('lapsing', string.format('%.0f', after), after)
    end
  end
end

local function write_record(key, value, bin)
  local before, holder = record_of(key), value[4] or ''
  into_bin(key, before and before[5] or 0, bin)
  value[5], value[6], records[key] = bin, value[4] and life_of(value[4], key), value
  hash('record', key, struct.pack(RECORD, value[2], value[3] or -1, bin, value[6] or -1, #holder, holder) .. value[1])
end

local function keep(key, value)
  write_record(key, value, bin_of(value[3]))
end

-- Somebody else than its holder changes a record: a holder that has not ended is known from then on as one that has to
-- look what it holds.
local function disturb(value, by)
  local holder = value and value[4]
  local r = holder and holder ~= by and row(holder)
  if r and r[STATE] <= IS_LEASED then
    set('disturbed', holder, true)
  end
end

-- Write, whatever stands there.
local function put(key, data, expires, holder)
  local before = live(key)
  local value = { data, before and before[2] + 1 or 1, expires or false, holder or false }
  keep(key, value)
  return value
end

local function erase(key)
  local before = record_of(key)
  into_bin(key, before and before[5] or 0, 0)
  records[key] = false
  hash('record', key, false)
end

-- When the message that this step is about is due; none: now.
local function due_at(id)
  local born = id and not rows[id] and (borns[id] or read('born', id))
  if born then
    return (struct.unpack('<I8', born, DUE_AT))
  end
  local r = id and row(id)
  return r and r[DUE] or now
end

local function until_(ttl, from_due, id)
  if not ttl then
    return false
  end
  return math.min((from_due and math.max(now, due_at(id)) or now) + ttl, EXACT)
end
