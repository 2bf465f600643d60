-- needs: base
-- A message's row: its head, which the common way changes as a whole (and which is all zeros until it is leased for the
-- first time), then numbers of fixed size, then four texts that end in a zero.  rows.py has the same columns; what
-- stands from PROMOTED on is packed there.  0 stands for "none" in a moment, '' in a text.
local STATE, EXPIRES, ATTEMPT, RETRIES, CRASHES, SNOOZES, FENCE, CLAIM, CLAIMED, SETTLED, ENDED = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
local PUBLISHED, DUE, PLACE, ACCEPTED = 12, 13, 14, 15
local PROMOTED, CANCEL, HAS_ERROR, HAS_END, ERRED, HAS_VALUE, HAS_STORY = 16, 17, 18, 19, 20, 21, 22
local PRIORITY, KEEP_RESULT, LIFE, MAX_CRASHES, WINDOW, KEEP, KEEP_FAILED = 23, 24, 25, 26, 27, 28, 29
local QUEUE, TASK, OWNER, REASON, COLUMNS = 30, 31, 32, 33, 33
local HEAD, MOMENTS = '<BI8I4I4I4I4I8I8I8I8I8', '<I8I8I8I8'
local LAYOUT = '<BI8I4I4I4I4I8I8I8I8I8I8I8I8I8I8BBBBBBBBI4I4I8I8I8ssss'
local HEAD_END, DUE_AT, CANCEL_AT, VALUE_AT, RESULT_AT, KEEP_AT = 65, 74, 106, 110, 113, 130 -- the head's end, columns
local FRESH = ('\0'):rep(HEAD_END)
local IS_READY, IS_DUE, IS_LEASED, IS_DONE, IS_FAILED, IS_DROPPED = 0, 2, 3, 4, 5, 6
local NAMES = { [0] = 'ready', [2] = 'due', [3] = 'leased', [4] = 'done', [5] = 'failed', [6] = 'dropped' }
local TIES = 2048 -- what is due in one ms keeps the order of acceptance
local FAR = 2 ^ 50 -- ms; later moments are as one, lest they leave the range of numbers
local BAND = 2 ^ 49 -- places within one priority
local SOON = 1000 -- ms; who idles is told of work that is due so soon
