-- One record of the store.
-- KEYS  1 namespace
-- ARGV  1 now; 2 get, put, add, swap, touch, drop or incr; 3 key; 4 data, or the number to add; 5 ttl in ms, or '';
--       6 holder, or ''; 7 version, or limit, or ''; 8 the call's name (lib/said.lua)
-- Returns a MessagePack of the record, of true or false, or of a sum as text; 'integer' where none stands
-- O(log n)
-- needs: records said write
local op, key, data, holder = ARGV[2], ARGV[3], ARGV[4], ARGV[6] ~= '' and ARGV[6]
local before = op ~= 'get' and said_before()
if before then
  return before
end
local ends, value = until_(tonumber(ARGV[5])), live(ARGV[3])
local answer = value
if op ~= 'get' and op ~= 'add' then
  disturb(value)
end
if op == 'put' then
  answer = put(key, data, ends, holder)
elseif op == 'add' then
  answer = not value
  if answer then
    put(key, data, ends, holder)
  end
elseif op == 'swap' then
  answer = tonumber(ARGV[7]) == (value and value[2] or 0)
  if answer then
    put(key, data, ends, value and value[4])
  end
elseif op == 'touch' and value then
  keep(key, { value[1], value[2], ends, value[4] })
  answer = true
elseif op == 'drop' then
  answer = value and (not holder or value[4] == holder) and true or false
  if answer then
    erase(key)
  end
elseif op == 'incr' then
  local sum = tonumber(data)
  if value and not value[1]:match('^%s*[+-]?%d+%s*$') then
    return cmsgpack.pack('integer')
  end
  sum = sum + (value and tonumber(value[1]) or 0)
  if sum >= EXACT or sum <= -EXACT then
    return cmsgpack.pack('large')
  end
  local limit = tonumber(ARGV[7])
  answer = not (limit and sum > limit) and string.format('%.0f', sum)
  if answer then
    put(key, answer, value and value[3] or not value and ends, value and value[4])
  end
end
write()
local told = cmsgpack.pack(answer)
return answer and op ~= 'get' and say(told) or told
