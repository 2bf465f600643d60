-- needs: unit
-- The steps of a message's life.  The common way (published, claimed, done) is told by the columns alone; what they
-- are about to forget is put into `story` first.  A step: at, to, reason, owner, attempt, fence, due, error.
local KEPT = 16

local function steps_of(id, r)
  local steps
  local raw = r[HAS_STORY] == 1 and read('story', id)
  if raw then
    steps = cmsgpack.unpack(raw)
  else
    local late = r[DUE] > r[PUBLISHED]
    steps = { { r[PUBLISHED], late and 'due' or 'ready', false, false, 0, 0, late and r[DUE], false } }
  end
  local last = steps[#steps]
  if r[PROMOTED] > 0 then
    steps[#steps + 1] = { r[PROMOTED], 'ready', false, false, last[5], last[6], false, false }
  end
  if r[CLAIMED] > 0 then
    steps[#steps + 1] = { r[CLAIMED], 'leased', false, r[OWNER], r[ATTEMPT], r[FENCE], false, false }
  end
  if r[ENDED] > 0 then
    local by = r[CLAIMED] > 0 and r[OWNER]
    local err = r[ERRED] == 1 and read('error', id)
    steps[#steps + 1] =
      { r[ENDED], NAMES[r[STATE]], r[REASON] ~= '' and r[REASON], by, r[ATTEMPT], r[FENCE], false, err }
  end
  while #steps > KEPT do
    table.remove(steps, 1)
  end
  return steps
end

-- One step more, and the columns that were told are free again.
local function remember(id, r, to, reason, attempt, due, err, by)
  local steps = steps_of(id, r)
  steps[#steps + 1] = { now, to, reason or false, by, attempt, r[FENCE], due, err or false }
  hash('story', id, cmsgpack.pack(steps))
  r[HAS_STORY], r[CLAIMED], r[PROMOTED] = 1, 0, 0
end
