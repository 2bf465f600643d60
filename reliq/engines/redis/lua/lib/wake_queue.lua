-- needs: owner
-- Who idles stands in `idle:QUEUE` as "channel claim owner": where it listens, and the claim that waits.  Each new
-- message wakes one.  A claim that was answered meanwhile, or a channel that nobody hears any more, is passed over, so
-- no wake is lost on the busy or the dead.
local function next_idle(queue)
  while true do
    local member = call('SPOP', N .. 'idle:' .. queue)
    if not member then
      return
    end
    local channel, seq, name = member:match('^(%S+) (%d+) (.*)$')
    local o = owner_of(name)
    if o and o[4] < tonumber(seq) then
      return channel, tonumber(seq), name, o
    end
  end
end

local function wake_queue(queue, n)
  while n > 0 do
    local channel = next_idle(queue)
    if not channel then
      return
    end
    n = n - call('PUBLISH', channel, '')
  end
end
