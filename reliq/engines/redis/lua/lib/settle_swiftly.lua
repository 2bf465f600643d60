-- needs: plain
-- A whole batch on the common way, with few commands.  What cannot go this way is left as it was.

-- What is to be written of the records that these complete, and how; nothing: the long way must decide.
local function completed_by(ids, puts)
  -- needs: holdings
  return complete_swiftly(ids, puts), write_completed
end

-- What is to be written of a run of messages that are simply done (settle.lua); false: some do not fit.
local function run_done(item, owner, seen)
  local fence, ids, first, puts = item[1], item[2], item[4], item[6]
  local found, rows, values, gone = call('HMGET', N .. 'message', unpack(ids)), {}, {}, {}
  local last, row, at, valued, acts, line, before, completed, write_completed
  for i = 1, #ids do
    local id, raw = ids[i], found[i]
    if raw and raw ~= last then
      row, at, valued, acts = done_of(raw, owner, fence, first)
      last = raw
    end
    if not raw or not row or acts or seen[id] then
      return false
    end
    seen[id], rows[2 * i - 1], rows[2 * i] = true, id, row
    if valued then
      values[#values + 1], values[#values + 2] = id, ARGV[first + i - 1]
    end
    if at ~= before then
      line, before = gone[at] or {}, at
      gone[at] = line
    end
    line[#line + 1] = id
  end
  if puts then
    completed, write_completed = completed_by(ids, puts)
    if not completed then
      return false
    end
  end
  return { owner, ids, rows, values, gone, completed, write_completed }
end

local function write_done(owner, ids, rows, values, gone, completed, write_completed)
  call('SREM', N .. 'held:' .. owner, unpack(ids))
  if completed then
    write_completed(unpack(completed))
  end
  call('HSET', N .. 'message', unpack(rows))
  if #values > 0 then
    call('HSET', N .. 'value', unpack(values))
  end
  for at, line in pairs(gone) do
    local second = string.format('%d', at / 1000)
    if call('RPUSH', N .. 'gone:' .. second, unpack(line)) == #line then
      call('ZADD', N .. 'gone', second, 'gone:' .. second)
    end
  end
end

-- How many settlements there are, if all are such; false where any is not: then nothing was written.
local function settle_swiftly(items, by)
  if #items == 0 then
    return 0
  end
  local seen, runs, n = {}, {}, 0
  for i = 1, #items do
    local item = items[i]
    runs[i] = type(item[2]) == 'table' and not item[5] and run_done(item, item[3] or by, seen)
    if not runs[i] then
      return false
    end
  end
  local waited = call('EXISTS', N .. 'waiting') == 1
  for i = 1, #runs do
    local ids = runs[i][2]
    write_done(unpack(runs[i], 1, 7))
    n = n + #ids
    for j = 1, waited and #ids or 0 do
      ended[#ended + 1] = ids[j]
    end
  end
  call('HINCRBY', N .. 'book', 'done', n)
  return n
end
