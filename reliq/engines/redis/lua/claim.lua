-- Settle the last batch, then lease the next.
-- KEYS  1 namespace
-- ARGV  1 now; 2 owner; 3 seq; 4 limit; 5 what to put among those that idle (wake_queue.lua) when there is nothing, or
--       ''; 6 what of this owner's stands there, or ''; 7 queues as MessagePack; 8 settlements as MessagePack, or '';
--       9.. values and errors
-- Returns { MessagePack of {answers, or how many were simply applied; live; batches (lib/owner.lua); next due or false; in
--         how many ms; wants alone; whether waiting may bring something; ids; those of them that have to look what they
--         hold}, and where there are ids: the second parts of their rows in a row, what the deliveries say in a row
--         (DELIVERED of rows.lua; once where all say the same), payloads }
-- O(n log m)
-- needs: settle_swiftly lease_swiftly owner room
local name, seq, limit, queues = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), cmsgpack.unpack(ARGV[7])
local items = ARGV[8] ~= '' and cmsgpack.unpack(ARGV[8]) or {}
local settled = settle_swiftly(items, name)
local got, rare, again = { ids = {}, heads = {}, born = {}, bodies = {} }, false, false
local next_due, wants_alone, deaf = false, false, false

-- What comes seldom is made when it does: making all these functions would cost more than most claims.
local function settle_the_long_way()
  -- needs: settle write
  settled = settle_all(items, name)
  write()
end

if not settled then
  settle_the_long_way()
end
local o = owner_of(name)
if o and limit > 0 and seq >= o[4] then
  again = seq == o[4]
  rare = again or o[5] ~= ''
  if not rare then
    rare, next_due = first_by_time(queues)
  end
  rare = rare or lease_swiftly(queues, limit, name, seq, got)
end

local function lease_the_long_way()
  -- needs: lease_anything
  if again then
    lease_again(queues, name, seq, got)
  else
    wants_alone, deaf = lease_anything(queues, limit, name, seq, o, got)
    next_due = earliest(queues)
  end
end

if rare then
  lease_the_long_way()
end
local ids = got.ids
local idles = o and limit > 0 and seq > o[4] and #ids == 0 and not wants_alone or false
if #ids > 0 and not again then
  o[4], o[7] = seq, o[7] + 1
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
local batches, pause = o and o[7] or 0, next_due and next_due - now or 0
if #ids == 0 then
  return { cmsgpack.pack({ settled, o and true or false, batches, next_due, pause, wants_alone, idles }) }
end
local told = cmsgpack.pack({ settled, true, batches, false, 0, wants_alone, false, ids, disturbed_of(ids) })
return { told, table.concat(got.born), once(got.heads), got.bodies }
