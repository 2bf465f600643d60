-- needs: rows unit
-- The store's records: {data, version, expires or false, holder or false}.  A record whose holder is leased is live
-- whatever its time.  Data travels as text in which each character is one byte, and is kept so.
local EXACT = 2 ^ 53 -- from here on numbers have gaps: no sum gets there
local records = {}

local function lapsed(value)
  if not value[3] or value[3] > now then
    return false
  end
  local holder = value[4] and row(value[4])
  return not (holder and holder[STATE] == IS_LEASED)
end

local function live(key)
  local value = records[key]
  if value == nil then
    local raw = call('HGET', N .. 'record', key)
    value = raw and cmsgpack.unpack(raw)
    records[key] = value
  end
  return value and not lapsed(value) and value
end

-- `before`: the live record that stood there, which is in `keys`, and in `lapsing` if it was to lapse.
local function keep(key, value, before)
  records[key] = value
  hash('record', key, cmsgpack.pack(value))
  if not before then
    zset('keys', key, '0')
  end
  if value[3] or not before or before[3] then
    zset('lapsing', key, value[3])
  end
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
  keep(key, value, before)
  return value
end

local function erase(key)
  records[key] = false
  hash('record', key, false)
  zset('keys', key, false)
  zset('lapsing', key, false)
end

local function until_(ttl, from_due, due)
  if not ttl then
    return false
  end
  return (from_due and math.max(now, due) or now) + ttl
end
