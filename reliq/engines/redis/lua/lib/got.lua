-- needs: base
-- What one claim carries: its answer must arrive within the deadline, and the server ends the connection of a client
-- that listens to a channel and has 8 MiB in hand for a minute, or 32 at once (client-output-buffer-limit pubsub).
local MOST = 4194304
local carried, is_full = 0, false

-- Those of the next messages that the answer has room for, at least one in all; their payloads, which go with it.
local function fitting(ids)
  local found = call('HMGET', N .. 'payload', unpack(ids))
  for i = 1, #ids do
    local size = #(found[i] or '')
    carried = carried + size
    if carried > MOST and carried > size then
      is_full = true
      return { unpack(ids, 1, i - 1) }, { unpack(found, 1, i - 1) }
    end
  end
  return ids, found
end

-- What a claim has got: ids, what their deliveries say, the second part of their rows, payloads.
local function gather(got, id, head, born, body)
  local n = #got.ids + 1
  got.ids[n], got.heads[n], got.born[n], got.bodies[n] = id, head, born, body
end

-- One behind the other; once where it is the same for all.
local function once(heads)
  for i = 2, #heads do
    if heads[i] ~= heads[1] then
      return table.concat(heads)
    end
  end
  return heads[1]
end

-- Those that have to look what they hold.
local function disturbed_of(ids)
  local found = {}
  if call('EXISTS', N .. 'disturbed') == 1 then
    for _, id in ipairs(ids) do
      if call('SISMEMBER', N .. 'disturbed', id) == 1 then
        found[#found + 1] = id
      end
    end
  end
  return found
end
