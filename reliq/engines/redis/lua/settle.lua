-- Apply verdicts.
-- KEYS  1 namespace
-- ARGV  1 now; 2 the settlements as MessagePack (lib/settle.lua); 3.. values and errors
-- Returns a MessagePack list of answers, or of how many were simply applied
-- O(n log m)
-- needs: settle_swiftly
local items = cmsgpack.unpack(ARGV[2])
local answers = settle_swiftly(items)

local function the_long_way()
  -- needs: settle write
  answers = settle_all(items)
  write()
end

if not answers then
  the_long_way()
end
wake()
return cmsgpack.pack(answers)
