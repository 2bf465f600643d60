-- Members of an ordered index at or before a moment.
-- KEYS  1 namespace
-- ARGV  1 now; 2 index; 3 the moment in ms; 4 how many
-- Returns { member, its moment, ... }
-- O(log m + n)
-- needs: base
local found = call('ZRANGEBYSCORE', N .. 'index:' .. ARGV[2], '-inf', ARGV[3], 'WITHSCORES', 'LIMIT', 0, ARGV[4])
for i = 2, #found, 2 do
  found[i] = string.format('%.0f', tonumber(found[i]))
end
return found
