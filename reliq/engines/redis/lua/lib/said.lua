-- needs: base room
-- A call whose reply was lost is made again, and some would not find again what they found: they say what they have
-- said.  The call's name is the last argument; it is kept for longer than anybody asks again.
local said = N .. 'said:' .. ARGV[#ARGV]

local function said_before()
  return call('GET', said)
end

-- At the end, and only of what was done: it must not be what a full server refuses.
local function say(answer)
  make_room()
  call('SET', said, answer, 'PX', 10000)
  return answer
end
