-- needs: moves
-- A new message.  An item: id, queue, task, priority, eta, delay, expires, expires_in, expires_after_due, max_crashes,
-- keep, keep_failed, keep_result, window, on_end (the number of an argument, bytes as text, or '' for none); -1 stands
-- for "not said" in a time.
local tombs

local function raw(text) -- bytes that travelled as text
  if not text:find('[\194\195]') then
    return text
  end
  return (text:gsub('([\194\195])([\128-\191])', function(high, low)
    return high == '\194' and low or string.char(low:byte() + 64)
  end))
end

local function known(id)
  if row(id) then
    return true
  end
  if tombs == nil then
    tombs = call('ZCARD', N .. 'tomb') > 0
  end
  local ends = tombs and call('ZSCORE', N .. 'tomb', id)
  return ends and tonumber(ends) > now
end

local function expiry(item, due)
  local first = item[7]
  if item[8] >= 0 and (first < 0 or now + item[8] < first) then
    first = now + item[8]
  end
  if item[9] >= 0 and (first < 0 or due + item[9] < first) then
    first = due + item[9]
  end
  return first < 0 and 0 or math.max(first, 1)
end

local function accept(item, payload)
  local id = item[1]
  local due = item[5] >= 0 and math.max(item[5], now) or now + math.max(item[6], 0)
  local on_end = item[15]
  local r = {
    IS_READY, item[4], 0, item[13], 0, 0, 0, on_end ~= '' and 1 or 0, 0,
    0, 0, 0, 0, 1, item[10],
    0, 0, number('accepted'), 0, 0, now, due, expiry(item, due),
    0, 0, 0, 0, now + item[14], item[11], item[12],
    item[2], item[3], '', '',
  }
  rows[id] = r
  hash('payload', id, payload)
  if on_end ~= '' then
    hash('on_end', id, ARGV[on_end] or raw(on_end))
  end
  if due > now then
    wait(id, r, IS_DUE)
  else
    r[PLACE] = number('place')
    wait(id, r, IS_READY)
  end
  set('queues', item[2], true)
  return r
end
