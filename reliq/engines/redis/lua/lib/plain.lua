-- needs: unit
-- The common way, on the bytes of a row: a message that was never leased is leased, a leased one is done and holds
-- nothing.  Both answer false where the long way must decide.
local leased_head, done_heads = nil, {}

local function lease_plain(id, raw, name, seq)
  if raw:sub(1, HEAD_END) ~= FRESH or raw:sub(-3) ~= '\0\0\0' then
    return false
  end
  leased_head = leased_head or struct.pack(HEAD, IS_LEASED, 0, 1, 0, 0, 0, now * 1000, seq, now, 0, 0)
  hash('message', id, leased_head .. raw:sub(HEAD_END + 1, -3) .. name .. '\0\0')
  local published, due = struct.unpack('<I8I8', raw, HEAD_END + 1)
  return { id, now * 1000, 1, 0, 0, 0, published, due }
end

-- The head of a row that is done, from that of one that is leased under a fence: the same for a whole batch.
local function done_head(head, given)
  local state, expires, attempt, retries, crashes, snoozes, fence, claim, claimed = struct.unpack(HEAD, head)
  return state == IS_LEASED
    and fence == given
    and struct.pack(HEAD, IS_DONE, expires, attempt, retries, crashes, snoozes, fence, claim, claimed, fence, now)
end

-- `tail`: what the row of a message ends in that this owner holds.
local function done_plain(id, raw, tail, given)
  local cancel, has_error, has_end = raw:byte(CANCEL_AT, CANCEL_AT + 2)
  if cancel + has_error + has_end > 0 or raw:sub(-#tail) ~= tail then
    return false
  end
  local head = raw:sub(1, HEAD_END)
  local known = done_heads[given]
  if not known or known[1] ~= head then
    known = { head, done_head(head, given) }
    done_heads[given] = known
  end
  if known[2] then
    hash('message', id, known[2] .. raw:sub(HEAD_END + 1))
    bin(id, now + struct.unpack('<I8', raw, KEEP_AT))
  end
  return known[2]
end
