-- needs: rows
-- A record of the store: version, expiry (-1: none), bin, how long it lives on when its holder is done (records.lua; -1:
-- that changes nothing), the holder with its length, then the data.
local RECORD, EXPIRES_AT, HOLDER_AT = '<I8i8I8i8I2c0', 9, 33
local HELD = 1 -- the bin of what lives only because its holder is leased
local HOUR = 3600000 -- ms

-- The second in which a record's time is over, 0 for never: its key is in the set of that second; in that of an hour before
-- where it is far off, and is looked at again then: that makes few sets.
local function bin_of(expires)
  if not expires then
    return 0
  end
  local unit = expires > now + HOUR and HOUR or 1000
  return expires <= now and HELD or math.max(HELD, math.floor(expires / unit) * (unit / 1000))
end
