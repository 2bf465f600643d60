-- needs: records write
-- Records whose time is over go, at most `limit`; not those whose holder is leased, which are looked at each time.

local function purge_bin(bin, limit)
  local keys = call('SRANDMEMBER', N .. 'lapsing:' .. bin, limit)
  fetch_records(keys)
  for _, key in ipairs(keys) do
    local value = records[key]
    local there = value and present(value)
    if not value then
      set('lapsing:' .. bin, key, false) -- it was deleted beside us
    elseif not there or lapsed(there) then
      erase(key)
    elseif bin_of(there[3]) ~= there[5] then
      keep(key, there)
    end
  end
  return #keys
end

local function purge_lapsed(limit)
  local second = math.floor(now / 1000)
  local bins = call('ZRANGEBYSCORE', N .. 'lapsing', '-inf', second, 'LIMIT', 0, 100)
  for _, bin in ipairs(bins) do
    limit = limit - (limit > 0 and purge_bin(bin, limit) or 0)
  end
  write()
  for _, bin in ipairs(bins) do
    if call('EXISTS', N .. 'lapsing:' .. bin) == 0 then
      call('ZREM', N .. 'lapsing', bin)
    end
  end
end
