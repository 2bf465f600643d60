-- needs: records room write
-- Records whose time is over go, about `limit` at most; not those whose holder is leased: they are looked at each time.
local LOOKED_AT = 5000 -- of those

-- How many of the keys did not stay in the bin.
local function purge_bin(bin, limit)
  local keys = call('SRANDMEMBER', N .. 'lapsing:' .. bin, bin == HELD and LOOKED_AT or limit)
  local stay = 0
  fetch_records(keys)
  for _, key in ipairs(keys) do
    local value = records[key]
    local there = value and present(value)
    if not value or value[5] ~= bin then
      set(string.format('lapsing:%.0f', bin), key, false) -- it was deleted beside us
    elseif not there or lapsed(there) then
      erase(key)
    elseif bin_of(there[3]) ~= bin then
      keep(key, there)
    else
      stay = stay + 1
    end
  end
  return #keys - stay
end

local function purge_lapsed(limit)
  local second, went = math.floor(now / 1000), 0
  local bins = call('ZRANGEBYSCORE', N .. 'lapsing', '-inf', second, 'LIMIT', 0, 100)
  for _, bin in ipairs(bins) do
    if went < limit then
      went = went + purge_bin(tonumber(bin), limit - went)
    end
  end
  make_room()
  write()
  for _, bin in ipairs(bins) do
    if call('EXISTS', N .. 'lapsing:' .. bin) == 0 then
      call('ZREM', N .. 'lapsing', bin)
    end
  end
  return went
end
