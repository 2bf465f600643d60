-- needs: unit
local SLICE = 2000 -- arguments of one command; even

local function send(command, key, args)
  for first = 1, #args, SLICE do
    call(command, key, unpack(args, first, math.min(#args, first + SLICE - 1)))
  end
end

local function each(kind, remove, add)
  local adding = {}
  for key, members in pairs(kind) do
    local out, come = {}, {}
    for member, value in pairs(members) do
      if not value then
        out[#out + 1] = member
      else
        if value ~= true then
          come[#come + 1] = value
        end
        come[#come + 1] = member
      end
    end
    send(remove, key, out)
    if #come > 0 then
      adding[key] = come
    end
  end
  return adding, add
end

-- HSET wants field and value, ZADD score and member.
local function turned(pairs_)
  for i = 1, #pairs_, 2 do
    pairs_[i], pairs_[i + 1] = pairs_[i + 1], pairs_[i]
  end
  return pairs_
end

-- Write what was gathered; a script that reads structures again calls this first.
local function write()
  for id in pairs(touched) do
    local r = rows[id]
    hash('message', id, r and struct.pack(LAYOUT, unpack(r, 1, COLUMNS)))
  end
  local members = each(sets, 'SREM', 'SADD')
  local scores = each(zsets, 'ZREM', 'ZADD')
  local fields = each(hashes, 'HDEL', 'HSET')
  for key, args in pairs(members) do
    send('SADD', key, args)
  end
  for key, args in pairs(scores) do
    send('ZADD', key, args)
  end
  for key, args in pairs(fields) do
    send('HSET', key, turned(args))
  end
  if book then
    call('HSET', N .. 'book', 'accepted', book.accepted, 'place', book.place)
  end
  for name, by in pairs(endings) do
    call('HINCRBY', N .. 'book', name, by)
  end
  for queue, by in pairs(leased) do
    call('HINCRBY', N .. 'leased', queue, by)
  end
  hashes, zsets, sets, touched, leased, endings, book = {}, {}, {}, {}, {}, {}, nil
end
