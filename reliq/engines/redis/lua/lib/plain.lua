-- needs: unit leased
-- The common way, on the bytes of a row: a message that was never leased is leased, a leased one is done.  Each gives
-- the new row, or false where the long way must decide.
local done_heads, keeps = {}, {}

local function lease_plain(raw, name, seq)
  return raw:sub(1, HEAD_END) == FRESH and leased(raw, name, seq)
end

-- The head of a row that is done, from that of one that is leased under a fence: the same for a whole batch.
local function done_head(head, given)
  local state, expires, attempt, retries, crashes, snoozes, fence, claim, claimed = struct.unpack(HEAD, head)
  return state == IS_LEASED
    and fence == given
    and struct.pack(HEAD, IS_DONE, expires, attempt, retries, crashes, snoozes, fence, claim, claimed, fence, now)
end

-- `tail`: what the row of a message ends in that this owner holds.
local function done_plain(raw, tail, given)
  local cancel, has_error = raw:byte(CANCEL_AT, CANCEL_AT + 1)
  if cancel + has_error > 0 or raw:sub(-#tail) ~= tail then
    return false
  end
  local head = raw:sub(1, HEAD_END)
  local known = done_heads[head]
  if not known or known[1] ~= given then
    known = { given, done_head(head, given) }
    done_heads[head] = known
  end
  return known[2] and known[2] .. raw:sub(HEAD_END + 1)
end

local function keep_of(raw)
  local bytes = raw:sub(KEEP_AT, KEEP_AT + 7)
  local keep = keeps[bytes]
  if not keep then
    keep = struct.unpack('<I8', bytes)
    keeps[bytes] = keep
  end
  return keep
end
