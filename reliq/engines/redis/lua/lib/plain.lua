-- needs: leased wake
-- The common way, for all messages at once whose rows are alike: what is ready is leased, what is leased is done.  Of
-- anything else the long way must decide.
local leases, ends = {}, {} -- by the row as it was

-- The row when it is leased, and what its delivery says.
local function lease_of(raw, name, seq)
  local known = leases[raw]
  if not known then
    known = { leased(raw, name, seq) }
    leases[raw] = known
  end
  return known[1], known[2]
end

-- A leased row: fence, owner, when it is purged if it is done now, the row when it is without and with a value, whether
-- being done has to do something about what it brought along.
local function ending(raw)
  local state, expires, attempt, retries, crashes, snoozes, fence, claim, claimed = struct.unpack(HEAD, raw)
  local cancel, has_error, has_end = raw:byte(CANCEL_AT, CANCEL_AT + 2)
  if state ~= IS_LEASED or cancel + has_error > 0 then
    return {}
  end
  local keep, owner = struct.unpack('<I8', raw, KEEP_AT), raw:match('^%Z*%z%Z*%z(%Z*)', TEXTS_AT)
  local head = struct.pack(HEAD, IS_DONE, expires, attempt, retries, crashes, snoozes, fence, claim, claimed, fence, now)
  local flags, rest = raw:sub(CANCEL_AT, VALUE_AT - 1), raw:sub(VALUE_AT + 1)
  local valued = raw:byte(RESULT_AT) == 1 and head .. flags .. '\1' .. rest
  return { fence, owner, now + keep, head .. flags .. raw:sub(VALUE_AT), valued, has_end == 1 }
end

-- The row of a message that is done under a receipt, when it is purged, whether it keeps its value, whether being done
-- has something to do.
local function done_of(raw, owner, fence, has_value)
  local known = ends[raw]
  if not known then
    known = ending(raw)
    ends[raw] = known
  end
  if known[1] ~= fence or known[2] ~= owner then
    return false
  end
  local valued = has_value and known[5]
  return valued or known[4], known[3], valued and true, known[6]
end
