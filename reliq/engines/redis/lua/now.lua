-- The time that scripts go by.
-- KEYS  1 namespace
-- ARGV  1 now
-- Returns it, in ms UTC, as text
-- O(1)
-- needs: base
return string.format('%d', now)
