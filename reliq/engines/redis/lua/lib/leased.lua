-- needs: rows
-- The row of a message that is leased for the first time, from the bytes of the one that waited.
local leased_head

local function leased(raw, name, seq)
  leased_head = leased_head or struct.pack(HEAD, IS_LEASED, 0, 1, 0, 0, 0, now * 1000, seq, now, 0, 0)
  return leased_head .. raw:sub(HEAD_END + 1, -3) .. name .. '\0\0'
end
