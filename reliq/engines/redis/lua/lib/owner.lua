-- needs: base
-- Owners: {since, expires, lease, claim, alone, about, batches}; `held:OWNER` has what is leased to one.  `batches` is how
-- many it was given: whoever knows of fewer has missed one, which went to a claim that nobody makes again.
local function owner_of(name)
  local raw = call('HGET', N .. 'owner', name)
  return raw and cmsgpack.unpack(raw)
end
