-- needs: base
-- A message's row: numbers of fixed size, then four texts that end in a zero.  rows.py has the same columns.
-- 0 stands for "none" in a moment, '' in a text.
local STATE, EXPIRES, ATTEMPT, RETRIES, CRASHES, SNOOZES, PUBLISHED, DUE = 1, 2, 3, 4, 5, 6, 7, 8
local FENCE, CLAIM, CLAIMED, SETTLED, ENDED, GONE = 9, 10, 11, 12, 13, 14
local PRIORITY, CANCEL, KEEP_RESULT, HAS_VALUE, HAS_ERROR, HAS_STORY, HAS_END, ERRED = 15, 16, 17, 18, 19, 20, 21, 22
local LIFE, MAX_CRASHES, PLACE, ACCEPTED, PROMOTED, WINDOW, KEEP, KEEP_FAILED = 23, 24, 25, 26, 27, 28, 29, 30
local QUEUE, TASK, OWNER, REASON, COLUMNS = 31, 32, 33, 34, 34
local HEAD = '<BI8I4I4I4I4I8I8I8I8I8I8I8I8' -- up to GONE, what the common way changes; 89 bytes
local LAYOUT = HEAD .. 'BBBBBBBBI4I4I8I8I8I8I8I8ssss'
local IS_READY, IS_DUE, IS_LEASED, IS_DONE, IS_FAILED, IS_DROPPED = 0, 2, 3, 4, 5, 6
local NAMES = { [0] = 'ready', [2] = 'due', [3] = 'leased', [4] = 'done', [5] = 'failed', [6] = 'dropped' }
local TIES = 2048 -- what is due in one ms keeps the order of acceptance
local BAND = 2 ^ 49 -- places within one priority
local SOON = 1000 -- ms; who idles is told of work that is due so soon
