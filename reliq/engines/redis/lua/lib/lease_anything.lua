-- needs: lease
local BOUND = 1000 -- what is expired or promoted at most

-- Whatever a claim may meet, into `got`; whether the owner wants to be alone, whether it has to be deaf.
local function lease_anything(queues, limit, name, seq, o, got)
  drop_expired(BOUND)
  local left = BOUND
  for _, queue in ipairs(queues) do
    left = left - promote_due(queue, math.max(left, 1))
  end
  local charged, holds = first_charged(queues), call('EXISTS', N .. 'held:' .. name) == 1
  local alone = holds and o[5] ~= '' and row(o[5])
  local deaf = alone and alone[STATE] == IS_LEASED and alone[OWNER] == name
  if charged and not holds then
    lease_row(charged, name, seq, got, read('payload', charged))
    o[5] = charged
    pass_on(queues)
  elseif not deaf then
    lease_ready(queues, limit, name, seq, got)
    o[5] = ''
  end
  if charged and holds then -- it may have been woken for this one, and another can take it
    count(woken, row(charged)[QUEUE], 1)
  end
  write()
  return holds and charged and true or false, deaf
end

-- The batch that this claim gave before.
local function lease_again(queues, name, seq, got)
  local ids = batch_again(queues, name, seq)
  local bodies = #ids > 0 and call('HMGET', N .. 'payload', unpack(ids))
  for i, id in ipairs(ids) do
    gather_row(got, id, bodies[i])
  end
  pass_on(queues) -- a claim that was handed its message may have been woken for another one
end
