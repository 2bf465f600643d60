-- needs: rows
-- A record of the store: version, expiry (-1: none), bin, the holder with its length, then the data.
local RECORD, EXPIRES_AT, BIN_AT, HOLDER_AT = '<I8i8I8I2c0', 9, 17, 25

-- When a record may be thrown away: its key is in the set of that second, 0 for never.  A longer life is rounded up by
-- more, so that a key which is written again and again is in the sets of few.
local function bin_of(expires)
  if not expires then
    return 0
  end
  local _, doublings = math.frexp(math.max(expires - now, 0) / 1000)
  local step = 2 ^ math.max(0, doublings - 6)
  return math.ceil(expires / 1000 / step) * step
end
