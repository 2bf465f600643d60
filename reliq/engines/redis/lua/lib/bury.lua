-- needs: settle owners
local MAX_WAIT = 60000

-- Only a crash while alone proves anything, so only that one quarantines.
local function charge(id, r)
  local alone = r[CRASHES] > 0
  r[CRASHES] = r[CRASHES] + 1
  if alone and r[CRASHES] >= r[MAX_CRASHES] then
    conclude(id, r, IS_FAILED, 'crashed ' .. r[CRASHES] .. ' times')
  else
    local pause = math.min(MAX_WAIT, 1000 * 2 ^ math.min(r[CRASHES] - 1, 16))
    postpone(id, r, now + pause, 'crashed', r[ATTEMPT])
  end
end

local function told(ids, moved)
  for _, id in ipairs(ids) do
    local r = row(id)
    if r then
      moved[#moved + 1] = { id, r[TASK], r[QUEUE], NAMES[r[STATE]], r[REASON] }
    end
  end
end

-- Take back what a dead owner held.  `started`: fences by id, or nil where nobody can tell.
local function bury(name, started, guilty, moved)
  local ids = held_by(name)
  if guilty then
    settle_all(guilty, name)
  end
  for _, id in ipairs(ids) do
    local r = row(id)
    if r and r[STATE] == IS_LEASED and r[OWNER] == name then
      if r[CANCEL] == 1 then
        conclude(id, r, IS_DROPPED, 'cancelled')
      elseif started and started[id] ~= r[FENCE] then
        give_back(id, r, true, 'process died')
      elseif guilty then
        give_back(id, r, false, 'process died')
      else
        charge(id, r)
      end
      finish()
    end
  end
  hash('owner', name, false)
  zset('grave', name, now)
  told(ids, moved)
  return #ids
end
