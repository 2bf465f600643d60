-- What every script has: the namespace, and the moment.  KEYS[1] is the namespace and ends in ':'; all keys of an
-- application have it, and share its hash tag.  ARGV[1] is the time in ms, or '' for the server's own.
local EXACT = 2 ^ 53 -- from here on numbers have gaps: no sum gets there, and no moment
local N, call = KEYS[1], redis.call
local now = tonumber(ARGV[1])
if not now then
  local t = call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
