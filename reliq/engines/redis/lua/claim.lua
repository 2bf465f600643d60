-- Settle the last batch, then lease the next.
-- KEYS  1 namespace
-- ARGV  1 now; 2 owner; 3 seq; 4 limit; 5 what to put among those that idle (wake_queue.lua) when there is nothing, or
--       ''; 6 what of this owner's stands there, or ''; 7 queues as MessagePack; 8 settlements as MessagePack, or '';
--       9.. values and errors
-- Returns { MessagePack of {answers, live, next due or false, in how many ms, wants alone, whether waiting may bring
--         something, ids of those that have to look what they hold}, id, row, payload, ... }
-- O(n log m)
-- needs: settle lease room write wake
local BOUND = 1000 -- what is expired or promoted at most
local name, seq, limit, queues = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), cmsgpack.unpack(ARGV[7])

local function disturbed_of(ids)
  local found = {}
  if #ids > 0 and call('EXISTS', N .. 'disturbed') == 1 then
    for _, id in ipairs(ids) do
      if call('SISMEMBER', N .. 'disturbed', id) == 1 then
        found[#found + 1] = id
      end
    end
  end
  return found
end

local settled = {}
if ARGV[8] ~= '' then
  settled = settle_all(ARGV[8], name)
  write()
end
local o, ids, next_due, wants_alone, idles, deaf = owner_of(name), {}, false, false, false, false
if o and limit > 0 and seq == o[4] then
  ids = batch_again(queues, name, seq)
  pass_on(queues) -- a claim that was handed its message may have been woken for another one
elseif o and limit > 0 and seq > o[4] then
  drop_expired(BOUND)
  local left = BOUND
  for _, queue in ipairs(queues) do
    left = left - promote_due(queue, math.max(left, 1))
  end
  local charged, holds = first_charged(queues), call('EXISTS', N .. 'held:' .. name) == 1
  local alone = holds and o[5] ~= '' and row(o[5])
  wants_alone = holds and charged and true or false
  deaf = alone and alone[STATE] == IS_LEASED and alone[OWNER] == name
  if charged and not holds then
    ids[1] = lease_row(charged, name, seq) and charged
    o[5] = charged
  elseif not deaf then
    ids = lease_ready(queues, limit, name, seq)
    o[5] = ''
  end
  if #ids > 0 then
    o[4] = seq
    keep_owner(name, o)
    write()
  else
    next_due, idles = earliest(queues), not wants_alone
  end
end
for _, queue in ipairs(queues) do
  if ARGV[6] ~= '' then
    call('SREM', N .. 'idle:' .. queue, ARGV[6])
  end
  if idles and not deaf and ARGV[5] ~= '' then
    make_room()
    call('SADD', N .. 'idle:' .. queue, ARGV[5])
    call('EXPIRE', N .. 'idle:' .. queue, 10)
  end
end
wake()
local pause, disturbed = next_due and next_due - now or 0, disturbed_of(ids)
local reply = {
  cmsgpack.pack({ settled, o and true or false, next_due, pause, wants_alone, idles, disturbed }),
}
if #ids > 0 then
  local found = call('HMGET', N .. 'message', unpack(ids))
  local carries = not payloads[ids[1]] and call('HMGET', N .. 'payload', unpack(ids))
  for i = 1, #ids do
    reply[3 * i - 1], reply[3 * i], reply[3 * i + 1] = ids[i], found[i], carries and carries[i] or payloads[ids[i]] or false
  end
end
return reply
