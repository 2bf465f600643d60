-- needs: finish plain held
-- Settlements: {id, fence, owner, kind, reason, after, at, value, error, effects, follow-ups}, where value and error are
-- numbers of arguments, or a run of many that are simply done, of the owner `by` unless it names one: {fence, ids, owner,
-- the number of the argument with the first one's value, effects of each, {ttl, key of each, data of each}}, the last where
-- each completes one record of its own.  Answers: how many effects were skipped; -1 repeated; -2 stale.
local KINDS = { done = IS_DONE, failed = IS_FAILED, dropped = IS_DROPPED }

local function put_off(id, r, kind, item, err)
  if r[CANCEL] == 1 or (r[EXPIRES] > 0 and now >= r[EXPIRES]) then
    conclude(id, r, IS_DROPPED, r[CANCEL] == 1 and 'cancelled' or 'expired', false, err)
    return
  end
  local attempt = r[ATTEMPT]
  if kind == 'retry' then
    r[RETRIES] = r[RETRIES] + 1
  else
    r[SNOOZES] = r[SNOOZES] + 1
    attempt = attempt - 1
  end
  local due = item[7] and item[7] >= 0 and item[7] or now + math.max(item[6] or 0, 0)
  postpone(id, r, due, item[5], attempt, err)
end

local function settle(item)
  local id, fence = item[1], item[2]
  local r = row(id)
  if not r then
    return -2
  end
  if r[STATE] ~= IS_LEASED or r[FENCE] ~= fence or r[OWNER] ~= item[3] then
    return fence > 0 and r[SETTLED] == fence and -1 or -2
  end
  r[SETTLED] = fence
  local kind = item[4]
  local value, err = item[8] and ARGV[item[8]], item[9] and ARGV[item[9]]
  if KINDS[kind] then
    conclude(id, r, KINDS[kind], item[5], kind == 'done' and value, err)
  else
    put_off(id, r, kind, item, err)
  end
  local skipped = item[10] and apply(item[10], id) or 0
  for _, after in ipairs(item[11] or {}) do
    follow(after, id, value)
  end
  finish()
  return skipped
end

-- A message that is simply done, by the bytes of its row: how many effects were skipped, or nil where the long way must
-- decide.  `whole`: ids and rows of those that went this way.
local function done_at_once(id, raw, owner, fence, held, keys, own, value, whole)
  local done, gone, valued
  if raw and held ~= false and raws[id] == nil and rows[id] == nil then
    done, gone, valued = done_of(raw, owner, fence, value)
  end
  if not done then
    return nil
  end
  if valued then
    hash('value', id, ARGV[value])
  end
  local n = #whole.ids + 1
  whole.ids[n], whole.rows[2 * n - 1], whole.rows[2 * n] = id, id, done
  raws[id], freeing[id] = done, true
  bin(id, gone)
  ended[#ended + 1] = id
  local skipped = own and apply(own, id) or 0
  if held then
    apply(held, id, keys)
  end
  finish()
  return skipped
end

-- What went this way is written as a whole.
local function write_whole(whole, owner)
  if #whole.ids > 0 then
    frees[#frees + 1] = { 'SREM', 'held:' .. owner, whole.ids }
    adds[#adds + 1] = { 'HSET', 'message', whole.rows }
    count(endings, 'done', #whole.ids)
  end
end

local function settle_run(run, by, answers)
  local fence, ids, owner, first, effects, puts = run[1], run[2], run[3] or by, run[4], run[5], run[6]
  local found, whole = call('HMGET', N .. 'message', unpack(ids)), { ids = {}, rows = {} }
  local held, keys = held_of(ids, found)
  for i = 1, #ids do
    local id, value, own = ids[i], first and first + i - 1, effects and effects[i]
    if puts then
      own = { { 'put', puts[2][i], puts[3][i], puts[1], id } }
    end
    answers[#answers + 1] = done_at_once(id, found[i], owner, fence, held[id], keys[id], own, value, whole)
      or settle({ id, fence, owner, 'done', nil, nil, nil, value, nil, own })
  end
  write_whole(whole, owner)
end

local function settle_all(items, by)
  local answers = {}
  for _, item in ipairs(items) do
    if type(item[2]) == 'table' then
      settle_run(item, by, answers)
    else
      answers[#answers + 1] = settle(item)
    end
  end
  return answers
end
