-- needs: finish plain
-- Settlements: {id, fence, owner, kind, reason, after, at, value, error, effects, follow-ups}, where value and error are
-- numbers of arguments, or a run of many that are simply done, of the owner `by` unless it names one.  Answers:
-- how many effects were skipped; -1 repeated; -2 stale.
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
  if not kind then
    conclude(id, r, IS_DONE)
    return #pending > 0 and finish() or 0
  end
  local value, err = item[8] and ARGV[item[8]], item[9] and ARGV[item[9]]
  if KINDS[kind] then
    conclude(id, r, KINDS[kind], item[5], kind == 'done' and value, err)
  else
    put_off(id, r, kind, item, err)
  end
  local skipped = item[10] and apply(item[10], r[DUE]) or 0
  for _, after in ipairs(item[11] or {}) do
    follow(after, id, value)
  end
  return skipped + finish()
end

-- Messages of one claim that are simply done: {fence, ids, owner, number of the argument with the first one's value}.
local function settle_run(run, by, answers)
  local fence, ids, owner = run[1], run[2], run[3] or by
  local tail, found = '\0' .. owner .. '\0\0', call('HMGET', N .. 'message', unpack(ids))
  local settled, coming, n, first = {}, {}, 0, run[4]
  for i = 1, #ids do
    local id, raw = ids[i], found[i]
    local done = raw and raws[id] == nil and rows[id] == nil and done_plain(raw, tail, fence)
    if done and first and raw:byte(RESULT_AT) == 1 then
      done = done:sub(1, VALUE_AT - 1) .. '\1' .. done:sub(VALUE_AT + 1)
      hash('value', id, ARGV[first + i - 1])
    end
    if done then
      n = n + 1
      settled[n], coming[2 * n - 1], coming[2 * n] = id, id, done
      raws[id] = done
      bin(id, now + keep_of(done))
      ended[#ended + 1] = id
      answers[#answers + 1] = 0
    else
      answers[#answers + 1] = settle({ id, fence, owner, first and 'done', nil, nil, nil, first and first + i - 1 })
    end
  end
  if n > 0 then
    frees[#frees + 1] = { 'SREM', 'held:' .. owner, settled }
    adds[#adds + 1] = { 'HSET', 'message', coming }
    count(endings, 'done', n)
  end
end

local function settle_all(blob, by)
  local answers = {}
  for _, item in ipairs(cmsgpack.unpack(blob)) do
    if type(item[2]) == 'table' then
      settle_run(item, by, answers)
    else
      answers[#answers + 1] = settle(item)
    end
  end
  return answers
end
