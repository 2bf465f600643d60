-- needs: unit
-- What a message brings along for its end: a plan of {class, effects, follow-ups}, which many have in common, behind its
-- length; then the keys that the plan names by their numbers, each behind its length.
local plans = {} -- by their bytes

-- The effects of being done; false where follow-ups go with them.
local function done_by(plan)
  local effects = {}
  for _, on in ipairs(plan) do
    if on[1] == 'any' or on[1] == 'done' then
      if on[3][1] then
        return false
      end
      for _, effect in ipairs(on[2]) do
        effects[#effects + 1] = effect
      end
    end
  end
  return effects
end

-- What being done does to a record if it is the message's own, and no more than that: how long it lives from then on, in
-- ms; 0: it is removed.
local function life_by(effect)
  if effect[1] == 'remove' and effect[3] == true and not effect[4] then
    return 0
  end
  local lives = effect[1] == 'touch' and effect[4] == true and effect[3] -- its due moment is past
  return lives and math.max(0, math.min(lives, EXACT))
end

-- Those lives, by the numbers of the keys; and whether being done does no more.
local function lives_by(effects)
  local lives, times, all = {}, {}, effects and true
  for _, effect in ipairs(effects or {}) do
    times[effect[2]] = (times[effect[2]] or 0) + 1
  end
  for _, effect in ipairs(effects or {}) do
    local life = times[effect[2]] == 1 and life_by(effect)
    if life then
      lives[effect[2]] = life
    end
    all = all and life and true
  end
  return lives, all
end

-- The plan in these bytes; its keys are put behind those that stand in `keys`.
local function endings_of(bytes, keys)
  local text, at = struct.unpack('<I4c0', bytes)
  local plan = plans[text]
  if not plan then
    plan = cmsgpack.unpack(text)
    plan.done = done_by(plan)
    plan.lives, plan.is_quiet = lives_by(plan.done)
    plans[text] = plan
  end
  while at <= #bytes do
    keys[#keys + 1], at = struct.unpack('<I4c0', bytes, at)
  end
  return plan
end
