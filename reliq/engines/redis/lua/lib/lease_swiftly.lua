-- needs: plain got
-- A whole batch on the common way, with few commands.  What cannot go this way is left as it was.

-- Whether there is anything in these queues that only the long way can give: what has expired, is due or is charged.
-- And when the next message is due, or false.
local function first_by_time(queues)
  local keys, first = { N .. 'expiring' }, false
  for i = 1, #queues do
    keys[2 * i], keys[2 * i + 1] = N .. 'due:' .. queues[i], N .. 'charged:' .. queues[i]
  end
  if call('EXISTS', unpack(keys)) == 0 then
    return false, false
  end
  for i = 1, #keys do
    local found = call('ZRANGE', keys[i], 0, 0, 'WITHSCORES')
    local at = found[2] and math.floor(tonumber(found[2]) / TIES)
    local charged = i > 1 and i % 2 == 1
    if at and (charged or at <= now) then
      return true, false
    end
    if at and i > 1 and (not first or at < first) then
      first = at
    end
  end
  return false, first
end

-- Lease these, the first of a line: what their deliveries say; false where some only the long way can lease.
local function lease_line(line, ids, born, name, seq)
  local found, rows, heads, last, row, head = call('HMGET', N .. 'message', unpack(ids)), {}, {}, nil, nil, nil
  for i = 1, #ids do
    local raw = found[i]
    if raw and raw ~= last then
      row, head = lease_of(raw, name, seq)
      last = raw
    end
    if not raw or not row or not born[i] then
      return false
    end
    rows[2 * i - 1], rows[2 * i], heads[i] = ids[i], row, head
  end
  call('ZREMRANGEBYRANK', line, 0, #ids - 1)
  call('SADD', N .. 'held:' .. name, unpack(ids))
  call('HSET', N .. 'message', unpack(rows))
  return heads
end

-- Lease what is ready, up to `limit`, into `got`; true where something was met that only the long way can lease.
local function lease_swiftly(queues, limit, name, seq, got)
  for _, queue in ipairs(queues) do
    local line, before = N .. 'ready:' .. queue, carried
    local ids = #got.ids < limit and not is_full and call('ZRANGE', line, 0, limit - #got.ids - 1) or {}
    local bodies
    if #ids > 0 then
      ids, bodies = fitting(ids)
    end
    if #ids > 0 then
      local born = call('HMGET', N .. 'born', unpack(ids))
      local heads = lease_line(line, ids, born, name, seq)
      if not heads then
        carried, is_full = before, false
        return true
      end
      if #got.ids == 0 then
        got.ids, got.heads, got.born, got.bodies = ids, heads, born, bodies
      else
        for i = 1, #ids do
          gather(got, ids[i], heads[i], born[i], bodies[i])
        end
      end
    end
  end
  if #got.ids >= limit or is_full then
    pass_on(queues)
  end
  return false
end
