-- needs: leased wake_queue
-- A new message for which a claim waits is leased by that claim, and travels with the push that wakes it: the claim
-- need not ask for it.  A push that is lost is made up for when the claim is made again, or withdrawn.
local LARGE = 65536 -- bytes; what waits for a slow reader takes the server's memory

-- The new row when somebody took it, else nil: then it has to wait, and one that still idles is to be woken.
local function hand_over(id, raw, born, payload, queue)
  local channel, seq, name, o = next_idle(queue)
  while channel do
    if o[5] ~= '' then -- it has run something alone: its claim looks whether that is over, when it is woken
      call('SADD', N .. 'idle:' .. queue, string.format('%s %d %s', channel, seq, name))
      return
    end
    local row = leased(raw, name, seq)
    local head = string.format('\1%d %d %d %d ', seq, #name, #id, #row + BORN_SIZE)
    if call('PUBLISH', channel, head .. name .. id .. row .. born .. payload) > 0 then
      o[4] = seq
      call('HSET', N .. 'owner', name, cmsgpack.pack(o))
      call('SADD', N .. 'held:' .. name, id)
      return row
    end
    channel, seq, name, o = next_idle(queue)
  end
end
