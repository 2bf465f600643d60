-- Accept one message that is due at once, does not expire and holds nothing: publish.lua in the fewest steps.
-- KEYS  1 namespace
-- ARGV  1 now; 2 id; 3 queue; 4 priority; 5 the end of its row (newborn.lua); 6 its payload
-- Returns 1 when it was accepted, 0 for a duplicate
-- O(log m) for m messages that wait
-- needs: rows
local LARGE = 65536 -- bytes that a push brings at most; what waits for a slow reader takes the server's memory
local HANDED = '<BI8I8I8I8I4I4' -- what a push says first (claims.py)
local NEW = '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'
local id, queue, payload = ARGV[2], ARGV[3], ARGV[6]
local ends = call('ZSCORE', N .. 'tomb', id)
if ends and tonumber(ends) > now or call('HEXISTS', N .. 'later', id) == 1 then
  return 0
end
-- A full server refuses this one: nothing has been said to anybody yet.
local new = redis.pcall('HSETNX', N .. 'message', id, NEW .. ARGV[5])
if new ~= 1 and call('HEXISTS', N .. 'message', id) == 0 then
  new = call('HSETNX', N .. 'message', id, NEW .. ARGV[5]) -- it says why
end
if new ~= 1 then
  return 0
end
local accepted, place = call('HINCRBY', N .. 'book', 'accepted', '1'), call('HINCRBY', N .. 'book', 'place', '1')
local idle, row, waits = call('SPOP', N .. 'idle:' .. queue), nil, nil
-- One that idles (wake_queue.lua) leases it, and it travels with the push that wakes: the claim need not ask for it.  A
-- push that is lost is made up for when the claim is made again, or withdrawn.
while idle do
  local channel, number, name = idle:match('^(%S+) (%d+) (.*)$')
  local o, seq, heard = call('HGET', N .. 'owner', name), tonumber(number), 0
  o = o and cmsgpack.unpack(o)
  if o and o[4] < seq then
    waits = waits or call('EXISTS', N .. 'ready:' .. queue, N .. 'charged:' .. queue)
    -- Where others wait already they go first; one that has run something alone looks whether that is over.
    if waits > 0 or o[5] ~= '' or #payload > LARGE then
      heard = call('PUBLISH', channel, '')
    else
      local fence, batches = math.max(1, now * 1000), o[7] + 1
      local says = struct.pack(HANDED, 1, seq, batches, fence, now, #name, #id)
      heard = call('PUBLISH', channel, says .. name .. id .. payload)
      if heard > 0 then
        local head = struct.pack(HEAD, IS_LEASED, 0, 1, 0, 0, 0, fence, seq, now, 0, 0)
        o[4], o[7], row = seq, batches, head .. ARGV[5]:sub(1, -3) .. name .. '\0\0'
        call('HSET', N .. 'owner', name, cmsgpack.pack(o))
        call('SADD', N .. 'held:' .. name, id)
        call('HSET', N .. 'message', id, row)
      end
    end
  end
  idle = heard == 0 and call('SPOP', N .. 'idle:' .. queue)
end
call('HSET', N .. 'born', id, struct.pack(BORN, now, now, place, accepted, 0))
call('HSET', N .. 'payload', id, payload)
if not row then
  call('SADD', N .. 'queues', queue)
  call('ZADD', N .. 'ready:' .. queue, string.format('%d', (9 - ARGV[4]) * BAND + place), id)
end
return 1
