-- needs: unit
-- The record of an ended message goes; its id stays a duplicate until its window is over.
local function erase_message(id, r)
  for _, name in ipairs({ 'message', 'payload', 'value', 'error', 'story', 'on_end', 'waiting' }) do
    hash(name, id, false)
  end
  zset('gone', id, false)
  if r[STATE] == IS_FAILED then
    zset('failed', id, false)
  end
  if r[WINDOW] > now then
    zset('tomb', id, r[WINDOW])
  end
  rows[id], touched[id] = false, nil
end
