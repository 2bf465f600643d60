-- Accept messages.
-- KEYS  1 namespace
-- ARGV  1 now; 2 the items (newborn.lua), each with its guards and effects at 11 and 12, as MessagePack; 3.. payloads
-- Returns how many, when all were accepted; else a MessagePack list: 0 accepted, 1 duplicate, or what a guard found
-- O(n log m) for n items among m that wait
-- needs: finish guards write wake
local items, ids, keys, answers, plain = cmsgpack.unpack(ARGV[2]), {}, {}, {}, true
for i = 1, #items do
  ids[i] = items[i][1]
  for _, guard in ipairs(items[i][11] or {}) do
    keys[#keys + 1] = guard[1] == 'add' and guard[2] or nil
  end
end
fetch(ids)
fetch_records(keys)
for i = 1, #items do
  local item, answer = items[i], 0
  local guards, effects = item[11], item[12]
  if known(ids[i]) then
    answer = 1
  else
    local refused = guards and first_refused(guards)
    while refused and ends_expired(refused[5]) do
      finish()
      refused = first_refused(guards)
    end
    if refused then
      answer = refused
    elseif known(ids[i]) then -- what ended was followed by it
      answer = 1
    else
      accept(item, ARGV[i + 2])
      if guards then
        take(guards, ids[i])
      end
      if effects then
        apply(effects, ids[i])
      end
      if #pending > 0 then
        finish()
      end
    end
  end
  answers[i] = answer
  plain = plain and answer == 0
end
write()
wake()
return plain and #items or cmsgpack.pack(answers)
