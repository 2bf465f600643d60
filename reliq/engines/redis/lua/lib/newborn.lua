-- needs: rows
-- A new message.  An item: id, the end of its row (from CANCEL to REASON; a number as for on_end), queue, priority, eta, delay, expires,
-- expires_in, expires_after_due, on_end (the number of an argument, bytes as text, or '' for none); -1 stands for "not
-- said" in a time.
local function raw(text) -- bytes that travelled as text
  if not text:find('[\194\195]') then
    return text
  end
  return (text:gsub('([\194\195])([\128-\191])', function(high, low)
    return high == '\194' and low or string.char(low:byte() + 64)
  end))
end

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

-- The first part of its row: a head and an end that most messages of a step have in common.
local heads, ends = { [IS_READY] = {}, [IS_DUE] = {} }, { [0] = {}, {}, {} }

local function newborn(item, state, expires, has_end)
  local text, head = ARGV[item[2]] or raw(item[2]), heads[state][expires]
  local tail = ends[has_end][text]
  if not head then
    head = struct.pack(HEAD, state, expires, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    heads[state][expires] = head
  end
  if not tail then
    tail = text:sub(1, 2) .. string.char(has_end) .. text:sub(4)
    ends[has_end][text] = tail
  end
  return head .. tail
end
