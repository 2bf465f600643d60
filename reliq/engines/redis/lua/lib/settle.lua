-- needs: finish plain
-- Settlements: {id, fence, owner, kind, reason, after, at, value, error, effects, follow-ups}; all from `owner` on may
-- be left out ('done', by `by`).  value and error are numbers of arguments.  Answers: how many effects were skipped;
-- -1 repeated; -2 stale.
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

local function settle_plain(id, owner, fence)
  local raw = rows[id] == nil and raws[id]
  if not raw or not done_plain(id, raw, '\0' .. owner .. '\0\0', fence) then
    return false
  end
  raws[id] = nil
  set('held:' .. owner, id, false)
  count(endings, 'done', 1)
  ended[#ended + 1] = id
  return true
end

local function settle(item, by)
  local id, fence = item[1], item[2]
  if not item[4] and settle_plain(id, item[3] or by, fence) then
    return 0
  end
  local r = row(id)
  if not r then
    return -2
  end
  if r[STATE] ~= IS_LEASED or r[FENCE] ~= fence or r[OWNER] ~= (item[3] or by) then
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

local function settle_all(blob, by)
  local items, ids, answers = cmsgpack.unpack(blob), {}, {}
  for i, item in ipairs(items) do
    ids[i] = item[1]
  end
  fetch(ids)
  for i, item in ipairs(items) do
    answers[i] = settle(item, by)
  end
  return answers
end
