-- The books, at one instant.
-- KEYS  1 namespace
-- ARGV  1 now
-- Returns a MessagePack of {accepted, ready, due, leased, done, failed, dropped, records}
-- O(queues)
-- needs: base
local book = call('HMGET', N .. 'book', 'accepted', 'done', 'failed', 'dropped')
local ready, due, held = 0, 0, 0
for _, queue in ipairs(call('SMEMBERS', N .. 'queues')) do
  ready = ready + call('ZCARD', N .. 'ready:' .. queue) + call('ZCARD', N .. 'charged:' .. queue)
  due = due + call('ZCARD', N .. 'due:' .. queue)
end
for _, owner in ipairs(call('HKEYS', N .. 'owner')) do
  held = held + call('SCARD', N .. 'held:' .. owner)
end
for i = 1, 4 do
  book[i] = tonumber(book[i]) or 0
end
local records = call('HLEN', N .. 'message') + call('HLEN', N .. 'later')
return cmsgpack.pack({ book[1], ready, due, held, book[2], book[3], book[4], records })
