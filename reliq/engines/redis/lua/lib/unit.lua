-- needs: rows
-- What a script is about to write.  Nothing is written before everything was checked; then what frees memory goes
-- first, so that a full server lets settlements through, and then the rest.
local hashes, zsets, sets = {}, {}, {}
local ended, woken, leased, endings = {}, {}, {}, {}
local book

local function into(kind, key, member, value)
  local members = kind[key]
  if not members then
    members = {}
    kind[key] = members
  end
  members[member] = value
end

local function hash(name, field, value) -- false: remove it
  into(hashes, N .. name, field, value)
end

local function zset(name, member, score) -- false: remove it
  into(zsets, N .. name, member, score)
end

local function set(name, member, there)
  into(sets, N .. name, member, there)
end

-- What stands in a hash, as this script has it.
local function read(name, field)
  local members = hashes[N .. name]
  local value = members and members[field]
  if value == nil then
    return call('HGET', N .. name, field)
  end
  return value
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

local function count(counts, name, by)
  counts[name] = (counts[name] or 0) + by
end
