-- needs: rows
-- A new message's row.  An item: id, queue, task, priority, eta, delay, expires, expires_in, expires_after_due,
-- max_crashes, keep, keep_failed, keep_result, window, on_end (the number of an argument, bytes as text, or '' for
-- none); -1 stands for "not said" in a time.
local function due_of(item)
  return item[5] >= 0 and math.max(item[5], now) or now + math.max(item[6], 0)
end

local function expires_of(item, due)
  local first = item[7]
  if item[8] >= 0 and (first < 0 or now + item[8] < first) then
    first = now + item[8]
  end
  if item[9] >= 0 and (first < 0 or due + item[9] < first) then
    first = due + item[9]
  end
  return first < 0 and 0 or math.max(first, 1)
end

local function newborn(item, due, accepted, place)
  return struct.pack(
    LAYOUT,
    due > now and IS_DUE or IS_READY, expires_of(item, due), 0, 0, 0, 0, now, due,
    0, 0, 0, 0, 0, 0,
    item[4], 0, item[13], 0, 0, 0, item[15] ~= '' and 1 or 0, 0,
    1, item[10], place, accepted, 0, now + item[14], item[11], item[12],
    item[2], item[3], '', ''
  )
end
