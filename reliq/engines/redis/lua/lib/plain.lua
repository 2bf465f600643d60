-- needs: unit
-- The common way, on the bytes of a row: a message that was never leased is leased, a leased one is done and holds
-- nothing.  Both answer false where the long way must decide.
local LAST = 89 -- where GONE ends

local function lease_plain(id, raw, name, seq)
  local state, expires, attempt, retries, crashes, snoozes, published, due, fence = struct.unpack(HEAD, raw)
  if state ~= IS_READY or expires > 0 or raw:sub(-3) ~= '\0\0\0' then
    return false
  end
  attempt, fence = attempt + 1, math.max(fence + 1, now * 1000)
  local head = struct.pack(
    HEAD, IS_LEASED, 0, attempt, retries, crashes, snoozes, published, due, fence, seq, now, struct.unpack('<I8I8I8', raw, 66)
  )
  hash('message', id, head .. raw:sub(LAST + 1, -3) .. name .. '\0\0')
  return { id, fence, attempt, retries, crashes, snoozes, published, due }
end

-- The queue of a message that is done now.
local function done_plain(id, raw, owner, given)
  local state, expires, attempt, retries, crashes, snoozes, published, due, fence, claim, claimed = struct.unpack(HEAD, raw)
  local tail = '\0' .. owner .. '\0\0'
  if state ~= IS_LEASED or fence ~= given or raw:sub(-#tail) ~= tail then
    return false
  end
  local _, cancel, _, _, has_error, _, has_end = struct.unpack('<BBBBBBB', raw, LAST + 1)
  if cancel + has_error + has_end > 0 then
    return false
  end
  local keep, _, queue = struct.unpack('<I8I8s', raw, 138)
  local head = struct.pack(
    HEAD, IS_DONE, expires, attempt, retries, crashes, snoozes, published, due, fence, claim, claimed, fence, now, now + keep
  )
  hash('message', id, head .. raw:sub(LAST + 1))
  bin(id, now + keep)
  return queue
end
