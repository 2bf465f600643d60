-- Remove the value and the errors of an ended message.
-- KEYS  1 namespace
-- ARGV  1 now; 2 id
-- Returns 1, or 0 where there is none
-- O(1)
-- needs: write
local id = ARGV[2]
local r = row(id)
if not r or r[STATE] <= IS_LEASED then
  return 0
end
local raw = r[HAS_STORY] == 1 and read('story', id)
if raw then
  local steps = cmsgpack.unpack(raw)
  for _, step in ipairs(steps) do
    step[8] = false
  end
  hash('story', id, cmsgpack.pack(steps))
end
hash('value', id, false)
hash('error', id, false)
r[HAS_VALUE], r[HAS_ERROR], r[ERRED] = 0, 0, 0
touched[id] = true
write()
return 1
