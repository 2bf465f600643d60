-- needs: plain
-- A whole batch on the common way, with few commands.  What cannot go this way is left as it was.

-- What is to be written of the records of these that live on, and how; nothing: the long way must decide.
local function living_on(ids, puts, places)
  -- needs: holdings
  return live_on_swiftly(ids, puts, places), write_living_on
end

-- What is to be written of a run of messages that are simply done (settle.lua); false: some do not fit.
local function run_done(item, owner, seen)
  local fence, ids, first, puts = item[1], item[2], item[4], item[6]
  local found, rows, values, gone = call('HMGET', N .. 'message', unpack(ids)), {}, {}, {}
  local holding, places, records, write_records = {}, {}, nil, nil
  local last, row, at, valued, holds, line, before
  for i = 1, #ids do
    local id, raw = ids[i], found[i]
    if raw and raw ~= last then
      row, at, valued, holds = done_of(raw, owner, fence, first)
      last = raw
    end
    if not raw or not row or seen[id] then
      return false
    end
    seen[id], rows[2 * i - 1], rows[2 * i] = true, id, row
    if valued then
      values[#values + 1], values[#values + 2] = id, ARGV[first + i - 1]
    end
    if holds or puts then
      holding[#holding + 1], places[#holding + 1] = id, i
    end
    if at ~= before then
      line, before = gone[at] or {}, at
      gone[at] = line
    end
    line[#line + 1] = id
  end
  if #holding > 0 then
    records, write_records = living_on(holding, puts, places)
    if not records then
      return false
    end
  end
  return { owner, ids, rows, values, gone, records, write_records }
end

local function write_done(owner, ids, rows, values, gone, records, write_records)
  call('SREM', N .. 'held:' .. owner, unpack(ids))
  if records then
    write_records(records)
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
