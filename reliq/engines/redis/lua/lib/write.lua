-- needs: unit
local SLICE = 2000 -- arguments of one command; even

local function send(command, key, args)
  for first = 1, #args, SLICE do
    call(command, key, unpack(args, first, math.min(#args, first + SLICE - 1)))
  end
end

-- Remove what is to go; what is to come, by key: members for SADD, score and member for ZADD.
local function each(kind, remove)
  local adding = {}
  for name, members in pairs(kind) do
    local out, come = {}, {}
    local n = 0
    for member, value in pairs(members) do
      if not value then
        out[#out + 1] = member
      elseif value == true then
        n = n + 1
        come[n] = member
      else
        come[n + 1], come[n + 2] = value, member
        n = n + 2
      end
    end
    if #out > 0 then
      send(remove, N .. name, out)
    end
    if n > 0 then
      adding[name] = come
    end
  end
  return adding
end

local function add(command, adding)
  for name, args in pairs(adding) do
    send(command, N .. name, args)
  end
end

-- Remove the fields that go; those that come, with their values, by key.
local function fields_of()
  local coming = {}
  for name, members in pairs(hashes) do
    local out, come, n = {}, {}, 0
    for field, value in pairs(members) do
      if value then
        come[n + 1], come[n + 2] = field, value
        n = n + 2
      else
        out[#out + 1] = field
      end
    end
    if #out > 0 then
      send('HDEL', N .. name, out)
    end
    coming[name] = come
  end
  return coming
end

local function run(commands)
  for _, command in ipairs(commands) do
    send(command[1], N .. command[2], command[3])
  end
end

-- What stood by itself while it waited for its time comes among the others.
local function write_row(id, r)
  hash('message', id, struct.pack(MESSAGE, unpack(r, 1, COLUMNS)))
  hash('born', id, struct.pack(BORN, unpack(r, PUBLISHED, ALL)))
  if asleep[id] then
    hash('later', id, false)
    hash('payload', id, asleep[id])
    asleep[id] = nil
  end
end

-- Write what was gathered; a script that reads structures again calls this first.
local function write()
  for id in pairs(touched) do
    write_row(id, rows[id])
  end
  run(frees)
  local members, scores, fields = each(sets, 'SREM'), each(zsets, 'ZREM'), fields_of()
  run(adds)
  add('SADD', members)
  add('ZADD', scores)
  add('HSET', fields)
  add('RPUSH', lists)
  if book then
    call('HSET', N .. 'book', 'accepted', book.accepted, 'place', book.place)
  end
  for name, by in pairs(endings) do
    call('HINCRBY', N .. 'book', name, by)
  end
  hashes, zsets, sets, lists, touched, endings, book = {}, {}, {}, {}, {}, {}, nil
  raws, borns, bins, frees, adds = {}, {}, {}, {}, {}
end
