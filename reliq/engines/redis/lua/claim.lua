-- Settle the last batch, then lease the next.
-- KEYS  1 namespace
-- ARGV  1 now; 2 owner; 3 seq; 4 limit; 5 what to put among those that idle (wake_queue.lua) when there is nothing, or
--       ''; 6 what of this owner's stands there, or ''; 7 queues as MessagePack; 8 settlements as MessagePack, or '';
--       9.. values and errors
-- Returns { MessagePack of {answers, or how many were simply applied; live; next due or false; in how many ms; wants
--         alone; whether waiting may bring something; ids; those of them that have to look what they hold}, and where
--         there are ids: the second parts of their rows in a row, what the deliveries say in a row (DELIVERED of
--         rows.lua; once where all say the same), payloads }
-- O(n log m)
-- needs: settle_swiftly lease_swiftly owner room
local name, seq, limit, queues = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), cmsgpack.unpack(ARGV[7])
local items = ARGV[8] ~= '' and cmsgpack.unpack(ARGV[8]) or {}
local settled, o = settle_swiftly(items, name), nil
local got, rare = { ids = {}, heads = {}, born = {}, bodies = {} }, not settled
local next_due, wants_alone, deaf, again = false, false, false, false
if settled then
  o = owner_of(name)
  if o and limit > 0 and seq >= o[4] then
    rare = seq == o[4] or o[5] ~= ''
    if not rare then
      rare, next_due = first_by_time(queues)
    end
    rare = rare or lease_swiftly(queues, limit, name, seq, got)
  end
end

-- What comes seldom is made when it does: making all these functions would cost more than most claims.
local function the_long_way()
  -- needs: settle lease_anything write
  if not settled then
    settled = settle_all(items, name)
    write()
    o = owner_of(name)
  end
  again = o and limit > 0 and seq == o[4]
  if again then
    lease_again(queues, name, seq, got)
  elseif o and limit > 0 and seq > o[4] then
    wants_alone, deaf = lease_anything(queues, limit, name, seq, o, got)
    next_due = earliest(queues)
  end
end

if rare then
  the_long_way()
end
local ids = got.ids
local idles = o and limit > 0 and seq > o[4] and #ids == 0 and not wants_alone or false
if #ids > 0 and not again then
  o[4] = seq
  call('HSET', N .. 'owner', name, cmsgpack.pack(o))
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
local pause = next_due and next_due - now or 0
if #ids == 0 then
  return { cmsgpack.pack({ settled, o and true or false, next_due, pause, wants_alone, idles }) }
end
local told = cmsgpack.pack({ settled, true, false, 0, wants_alone, false, ids, disturbed_of(ids) })
return { told, table.concat(got.born), once(got.heads), got.bodies }
