-- needs: rows wake
-- What a script has read and what it is about to write.  Nothing is written before everything was checked; then what
-- frees memory goes first, so that a full server lets settlements through, and then the rest.
local NAMES = { [0] = 'ready', [2] = 'due', [3] = 'leased', [4] = 'done', [5] = 'failed', [6] = 'dropped' }
local raws, borns, laters, rows, touched = {}, {}, {}, {}, {}
local asleep = {} -- payloads of those that stand in `later`
local hashes, zsets, sets, lists = {}, {}, {}, {} -- by name, without the namespace
local frees, adds = {}, {} -- whole commands: { command, name, arguments }
local endings, book = {}, nil
local freeing = {} -- by id: ended in this step, and its `on_end` applies

local function into(kind, name, member, value)
  local members = kind[name]
  if not members then
    members = {}
    kind[name] = members
  end
  members[member] = value
end

local function hash(name, field, value) -- false: remove it
  into(hashes, name, field, value)
end

local function zset(name, member, score) -- false: remove it
  into(zsets, name, member, score)
end

local function set(name, member, there)
  into(sets, name, member, there)
end

-- What stands in a hash, as this script has it.
local function read(name, field)
  local members = hashes[name]
  local value = members and members[field]
  if value == nil then
    return call('HGET', N .. name, field)
  end
  return value
end

-- Read many at once; what this script made of some stays.
local function fetch(ids)
  if #ids > 0 then
    local found, born = call('HMGET', N .. 'message', unpack(ids)), call('HMGET', N .. 'born', unpack(ids))
    local missing = {}
    for i = 1, #ids do
      raws[ids[i]], borns[ids[i]] = found[i], born[i]
      if not found[i] then
        missing[#missing + 1] = ids[i]
      end
    end
    local packed = #missing > 0 and call('EXISTS', N .. 'later') == 1 and call('HMGET', N .. 'later', unpack(missing))
    for i = 1, #missing do
      laters[missing[i]] = packed and packed[i] or false
    end
  end
end

-- The row of a message in `later`, where it waits for its time as it was published: one string has both parts of its row
-- and its payload.  False: it does not stand there.
local function row_of_later(id)
  local packed = laters[id]
  if packed == nil then
    packed = read('later', id)
  end
  if not packed then
    return false
  end
  local size, at = struct.unpack('<I4', packed)
  asleep[id] = packed:sub(at + size)
  return packed:sub(at, at + size - 1)
end

-- Both parts of a row, or false.
local function whole(id)
  local raw, born = raws[id], borns[id]
  if raw == nil then
    raw = read('message', id)
  end
  if not raw then
    return row_of_later(id)
  end
  born = born or read('born', id)
  return born and raw .. born
end

-- The row of a message as this script has it, or false.
local function row(id)
  local r = rows[id]
  if r == nil then
    local raw = whole(id)
    r = raw and { struct.unpack(LAYOUT, raw) }
    rows[id] = r
  end
  return r
end

-- The next number of a counter of the books: 'accepted' or 'place'.
local function number(name)
  if not book then
    local found = call('HMGET', N .. 'book', 'accepted', 'place')
    book = { accepted = tonumber(found[1]) or 0, place = tonumber(found[2]) or 0 }
  end
  book[name] = book[name] + 1
  return book[name]
end

-- When the record of an ended message goes: its id is in the list of that second.
local bins = {}
local function bin(id, gone)
  local second = math.floor(gone / 1000)
  local ids = bins[second]
  if not ids then
    local name = 'gone:' .. string.format('%.0f', second)
    ids = {}
    bins[second], lists[name] = ids, ids
    zset('gone', name, second)
  end
  ids[#ids + 1] = id
end
