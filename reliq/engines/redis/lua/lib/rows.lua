-- needs: base
-- A message's row, in two parts: what its task and its way so far say of it (`message`), and its own moments and numbers
-- (`born`).  So the first part is the same for all that went the same way together, and is worked out once for a batch.
-- Numbers of fixed size, four texts that end in a zero; then those of the second part.  rows.py has the same columns; what
-- stands from CANCEL to REASON is packed there.  0 stands for "none" in a moment, '' in a text.
local STATE, EXPIRES, ATTEMPT, RETRIES, CRASHES, SNOOZES, FENCE, CLAIM, CLAIMED, SETTLED, ENDED = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
local CANCEL, HAS_ERROR, HAS_END, ERRED, HAS_VALUE, HAS_STORY = 12, 13, 14, 15, 16, 17
local PRIORITY, KEEP_RESULT, LIFE, MAX_CRASHES, WINDOW, KEEP, KEEP_FAILED = 18, 19, 20, 21, 22, 23, 24
local QUEUE, TASK, OWNER, REASON, COLUMNS = 25, 26, 27, 28, 28
local PUBLISHED, DUE, PLACE, ACCEPTED, PROMOTED, ALL = 29, 30, 31, 32, 33, 33
local HEAD, BORN, DELIVERED = '<BI8I4I4I4I4I8I8I8I8I8', '<I8I8I8I8I8', '<I4I4I4I4I8'
local MESSAGE = '<BI8I4I4I4I4I8I8I8I8I8BBBBBBBBI4I4I8I8I8ssss'
local LAYOUT = '<BI8I4I4I4I4I8I8I8I8I8BBBBBBBBI4I4I8I8I8ssssI8I8I8I8I8'
local QUIET = 2 -- HAS_END of what has nothing to write when it is done (records.lua); 1 of others that brought something along
local HEAD_END = 65 -- bytes
local CANCEL_AT, VALUE_AT, RESULT_AT, KEEP_AT, TEXTS_AT, DUE_AT = 66, 70, 73, 90, 106, 9 -- where columns begin, in their part
local IS_READY, IS_DUE, IS_LEASED, IS_DONE, IS_FAILED, IS_DROPPED = 0, 2, 3, 4, 5, 6
local TIES = 2048 -- what is due in one ms keeps the order of acceptance
local FAR = 2 ^ 50 -- ms; later moments are as one, lest they leave the range of numbers
local BAND = 2 ^ 49 -- places within one priority
local SOON = 4500 -- ms; who idles is told of work that is due so soon, for it may sleep for 4000 more
