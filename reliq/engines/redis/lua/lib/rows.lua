-- needs: base
-- A message's row: numbers of fixed size, then four texts that end in a zero.  rows.py has the same columns.
-- 0 stands for "none" in a moment, '' in a text.
local STATE, PRIORITY, CANCEL, KEEP_RESULT, HAS_VALUE, HAS_ERROR, HAS_STORY, HAS_END, ERRED = 1, 2, 3, 4, 5, 6, 7, 8, 9
local ATTEMPT, RETRIES, CRASHES, SNOOZES, LIFE, MAX_CRASHES = 10, 11, 12, 13, 14, 15
local CLAIM, PLACE, ACCEPTED, FENCE, SETTLED, PUBLISHED, DUE, EXPIRES = 16, 17, 18, 19, 20, 21, 22, 23
local CLAIMED, PROMOTED, ENDED, GONE, WINDOW, KEEP, KEEP_FAILED = 24, 25, 26, 27, 28, 29, 30
local QUEUE, TASK, OWNER, REASON, COLUMNS = 31, 32, 33, 34, 34
local LAYOUT = '<BBBBBBBBBI4I4I4I4I4I4I8I8I8I8I8I8I8I8I8I8I8I8I8I8I8ssss'
local IS_READY, IS_DUE, IS_LEASED, IS_DONE, IS_FAILED, IS_DROPPED = 0, 2, 3, 4, 5, 6
local NAMES = { [0] = 'ready', [2] = 'due', [3] = 'leased', [4] = 'done', [5] = 'failed', [6] = 'dropped' }

local rows, touched = {}, {}

-- The row of a message as this script has it, or false.
local function row(id)
  local r = rows[id]
  if r == nil then
    local raw = call('HGET', N .. 'message', id)
    r = raw and { struct.unpack(LAYOUT, raw) }
    rows[id] = r
  end
  return r
end

-- Read many at once; ids that were read before keep what this script made of them.
local function fetch(ids)
  if #ids == 0 then
    return
  end
  local raws = call('HMGET', N .. 'message', unpack(ids))
  for i = 1, #ids do
    local id = ids[i]
    if rows[id] == nil then
      local raw = raws[i]
      rows[id] = raw and { struct.unpack(LAYOUT, raw) }
    end
  end
end
