-- House-keeping.
-- KEYS  1 namespace
-- ARGV  1 now; 2 limit; 3 grace in ms; 4 how long a grave is kept, in ms; 5 the moment after which no owner is buried:
--       a request that was held up on its way must not outrun the renewals that were held up with it; 6 it is left where
--       somebody swept in so many ms before, or nil
-- Returns how many ms ago that was, or a MessagePack of {moved, owners that are gone, purged, whether there is more}
-- O(limit log m + owners + queues)
-- needs: base
local ago = ARGV[6] and now - (call('HGET', N .. 'book', 'swept') or 0)
if ago and ago >= 0 and ago < tonumber(ARGV[6]) then
  return ago
end
-- needs: bury ready lapsing purge write wake
local left, moved, gone, purged = tonumber(ARGV[2]), {}, {}, 0
local found = call('HGETALL', N .. 'owner')
for i = 1, #found, 2 do
  local o = cmsgpack.unpack(found[i + 1])
  if o[2] > now + o[3] then -- only a clock that was set back leaves a lease with more time than it lasts
    o[2] = now + o[3]
    keep_owner(found[i], o)
  end
  if left > 0 and o[2] < now - ARGV[3] and now <= tonumber(ARGV[5]) then
    left = left - math.max(1, bury(found[i], nil, false, moved))
    gone[#gone + 1] = found[i]
  end
end
write()
local dropped = left > 0 and drop_expired(left) or {}
told(dropped, moved)
left = left - #dropped
for _, queue in ipairs(call('SMEMBERS', N .. 'queues')) do
  left = left - (left > 0 and promote_due(queue, left) or 0)
  local waits = call('EXISTS', N .. 'ready:' .. queue, N .. 'due:' .. queue, N .. 'charged:' .. queue)
  if waits == 0 then
    set('queues', queue, false)
  end
end
if left > 0 then
  write()
  purged = purge_gone(left)
  left = left - purged
end
if left > 0 then
  left = left - purge_lapsed(left)
end
write()
call('ZREMRANGEBYSCORE', N .. 'tomb', '-inf', now)
call('ZREMRANGEBYSCORE', N .. 'grave', '-inf', now - ARGV[4])
if now <= tonumber(ARGV[5]) then -- else this one buried nobody, and the others are to come
  call('HSET', N .. 'book', 'swept', string.format('%d', now))
end
wake()
return cmsgpack.pack({ moved, gone, purged, left <= 0 })
