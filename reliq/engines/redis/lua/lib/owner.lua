-- needs: base
-- Owners: {since, expires, lease, claim, alone, about}; `held:OWNER` has what is leased to one.
local function owner_of(name)
  local raw = call('HGET', N .. 'owner', name)
  return raw and cmsgpack.unpack(raw)
end
