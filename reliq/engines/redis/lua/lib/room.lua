-- needs: base
-- A full server refuses a script that begins with a write that takes memory; once a script has written anything it is
-- let through.  What must go on even then (a lease, a cancel, a wait) begins with a removal, of nothing.
local function make_room()
  call('HDEL', N .. 'owner', '')
end
