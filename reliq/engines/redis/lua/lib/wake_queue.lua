-- needs: base
-- Who idles stands in `idle:QUEUE` under the channel it listens to.  Each new message wakes one; a channel that nobody
-- hears any more is passed over, so no wake is lost on the dead.
local function wake_queue(queue, n)
  local key = N .. 'idle:' .. queue
  while n > 0 do
    local channel = call('SPOP', key)
    if not channel then
      return
    end
    n = n - call('PUBLISH', channel, '')
  end
end
