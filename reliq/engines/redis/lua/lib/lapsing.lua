-- needs: records
-- Records whose time is over go, at most `limit`; those of a holder that is leased are looked at again later.
local LATER = 60000 -- ms

local function purge_lapsed(limit)
  for _, bin in ipairs(call('ZRANGEBYSCORE', N .. 'lapsing', '-inf', math.floor(now / 1000), 'LIMIT', 0, 100)) do
    local name = N .. 'lapsing:' .. bin
    local keys = limit > 0 and call('SPOP', name, limit) or {}
    limit = limit - #keys
    fetch_records(keys)
    for _, key in ipairs(keys) do
      local value = records[key]
      if value and lapsed(value) then
        erase(key)
      elseif value then
        write_record(key, value, bin_of(now + LATER))
      end
    end
    if call('EXISTS', name) == 0 then
      call('ZREM', N .. 'lapsing', bin)
    end
  end
end
