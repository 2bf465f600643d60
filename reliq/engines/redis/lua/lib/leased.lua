-- needs: rows
-- The first part of the row of a ready message (never charged, without an expiry) once it is leased, and what its
-- delivery says of it; nothing: the long way must decide.
local function leased(raw, name, seq)
  local state, expires, attempt, retries, crashes, snoozes, fence, _, _, settled = struct.unpack(HEAD, raw)
  if state ~= IS_READY or expires > 0 or crashes > 0 then
    return
  end
  attempt, fence = attempt + 1, math.max(fence + 1, now * 1000)
  local head = struct.pack(HEAD, IS_LEASED, 0, attempt, retries, 0, snoozes, fence, seq, now, settled, 0)
  local fixed, names = raw:sub(CANCEL_AT, TEXTS_AT - 1), raw:match('^%Z*%z%Z*%z', TEXTS_AT)
  return head .. fixed .. names .. name .. '\0\0', struct.pack(DELIVERED, attempt, retries, 0, snoozes, fence)
end
