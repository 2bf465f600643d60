-- A claim that waited returns: nothing more is handed to it.
-- KEYS  1 namespace
-- ARGV  1 now; 2 owner; 3 seq; 4 what stands of it among those that idle; 5.. queues
-- Returns 1 when the same claim has more to say: it was handed something, or its owner is gone; else 0
-- O(queues)
local missed = {}
for i = 5, #ARGV do
  if call('SREM', N .. 'idle:' .. ARGV[i], ARGV[4]) == 0 then
    missed[#missed + 1] = ARGV[i]
  end
end
if #missed == 0 then
  return 0 -- it stood everywhere, so nobody has taken it from there
end
-- needs: wake_queue
local o = owner_of(ARGV[2])
local served = not o or o[4] >= tonumber(ARGV[3])
for _, queue in ipairs(missed) do
  if not served and call('EXISTS', N .. 'ready:' .. queue) == 1 then
    wake_queue(queue, 1) -- it was woken, and does not come
  end
end
return served and 1 or 0
