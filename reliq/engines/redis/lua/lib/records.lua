-- needs: bins endings
-- The store's records: {data, version, expires or false, holder or false, bin, whether it goes with its holder}.  A record
-- whose holder is leased is live whatever its time.  One that goes with its holder is none as soon as that is done, though
-- it is not touched then: the purge of the holder takes it along.  So a lock costs nothing when its message is done.
-- Data travels as text in which each character is one byte, and is kept so.
local EXACT = 2 ^ 53 -- from here on numbers have gaps: no sum gets there
local records = {}

local function parsed(raw)
  local version, expires, bin, goes, holder, at = struct.unpack(RECORD, raw)
  return { raw:sub(at), version, expires >= 0 and expires, holder ~= '' and holder, bin, goes == 1 }
end

-- Read many at once.
local function fetch_records(keys)
  if #keys > 0 then
    local found = call('HMGET', N .. 'record', unpack(keys))
    for i, key in ipairs(keys) do
      records[key] = found[i] and parsed(found[i])
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

-- Whether it went with its holder.  What ends in this step by the long way removes what it holds itself.
local function is_gone(value)
  if not value[6] or freeing[value[4]] then
    return false
  end
  local holder = row(value[4])
  return not holder or holder[STATE] == IS_DONE
end

local function live(key)
  local value = record_of(key)
  return value and not is_gone(value) and not lapsed(value) and value
end

local goings = {} -- by message: the keys that being done removes, if it holds them

local function going_of(id)
  local going = goings[id]
  if not going then
    local r, keys = row(id), {}
    local brought = r and r[HAS_END] > 0 and read('on_end', id)
    going = {}
    for number in pairs(brought and endings_of(brought, keys).going or keys) do
      going[keys[number]] = true
    end
    goings[id] = going
  end
  return going
end

-- Whether a record of this key goes with this holder: that has not ended so yet, and brought along that it removes it.
local function goes_with(holder, key)
  local r, raw = rows[holder], raws[holder]
  if r == nil and not raw then
    r = row(holder)
  end
  local state = r and r[STATE] or r == nil and raw:byte()
  return state and state ~= IS_DONE and going_of(holder)[key] or false
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
  value[5], value[6], records[key] = bin, value[4] and goes_with(value[4], key), value
  local goes = value[6] and 1 or 0
  hash('record', key, struct.pack(RECORD, value[2], value[3] or -1, bin, goes, #holder, holder) .. value[1])
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
  return (from_due and math.max(now, due_at(id)) or now) + ttl
end
