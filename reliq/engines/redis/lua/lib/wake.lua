-- needs: unit
-- Who idles stands in `idle:QUEUE` under the channel it listens to, who waits for an ending in `waiting`.  Each new
-- message wakes one; a channel that nobody hears any more is passed over, so no wake is lost on the dead.
local function wake()
  for queue, n in pairs(woken) do
    local key = N .. 'idle:' .. queue
    while n > 0 do
      local channel = call('SPOP', key)
      if not channel then
        break
      end
      n = n - call('PUBLISH', channel, '')
    end
  end
  if #ended > 0 and call('HLEN', N .. 'waiting') > 0 then
    for first = 1, #ended, 1000 do
      local ids = { unpack(ended, first, math.min(#ended, first + 999)) }
      local found = call('HMGET', N .. 'waiting', unpack(ids))
      for i = 1, #ids do
        if found[i] then
          call('HDEL', N .. 'waiting', ids[i])
          for channel in found[i]:gmatch('%S+') do
            call('PUBLISH', channel, ids[i])
          end
        end
      end
    end
  end
  woken, ended = {}, {}
end
