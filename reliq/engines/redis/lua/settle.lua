-- Apply verdicts.
-- KEYS  1 namespace
-- ARGV  1 now; 2 the settlements as MessagePack (lib/settle.lua); 3.. values and errors
-- Returns a MessagePack list of answers
-- O(n log m)
-- needs: settle write wake
local answers = settle_all(ARGV[2])
write()
wake()
return cmsgpack.pack(answers)
