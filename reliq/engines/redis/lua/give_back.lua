-- Unstarted deliveries become ready again.
-- KEYS  1 namespace
-- ARGV  1 now; 2 receipts {id, owner, fence} as MessagePack
-- Returns how many were honoured
-- O(n log m)
-- needs: finish write wake
local honoured = 0
for _, receipt in ipairs(cmsgpack.unpack(ARGV[2])) do
  local id = receipt[1]
  local r = row(id)
  if r and r[STATE] == IS_LEASED and r[OWNER] == receipt[2] and r[FENCE] == receipt[3] then
    if r[CANCEL] == 1 then
      conclude(id, r, IS_DROPPED, 'cancelled')
      finish()
    else
      give_back(id, r, true)
    end
    honoured = honoured + 1
  end
end
write()
wake()
return honoured
