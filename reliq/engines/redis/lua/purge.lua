-- Drop some of what waits in a queue, oldest accepted first.
-- KEYS  1 namespace
-- ARGV  1 now; 2 queue; 3 the number of the last message that is meant, or '' for the last there is; 4 how many
-- Returns { how many were dropped, whether that was all, the number of the last }
-- O(n log m)
-- needs: finish write wake
local limit = tonumber(ARGV[4])
local last = tonumber(ARGV[3]) or tonumber(call('HGET', N .. 'book', 'accepted') or 0)
local ids, dropped, lost = {}, 0, 0
for _, kind in ipairs({ 'ready:', 'charged:', 'due:' }) do
  for _, id in ipairs(call('ZRANGE', N .. kind .. ARGV[2], 0, limit - 1)) do
    if not row(id) then
      zset(kind .. ARGV[2], id, false) -- it was deleted beside us
      lost = lost + 1
    elseif row(id)[ACCEPTED] <= last then
      ids[#ids + 1] = id
    end
  end
end
table.sort(ids, function(a, b)
  return row(a)[ACCEPTED] < row(b)[ACCEPTED]
end)
for _, id in ipairs(ids) do
  local r = row(id)
  if r[STATE] < IS_LEASED then -- an earlier one's `on_end` may have cancelled it
    conclude(id, r, IS_DROPPED, 'purged')
    finish()
    dropped = dropped + 1
  end
end
write()
wake()
return { dropped, #ids + lost == 0 and 1 or 0, string.format('%.0f', last) }
