-- Adds to a counter; a counter that begins now gets its lifetime, and keeps it.
-- KEYS: the counter. ARGV: what to add, lifetime in ms. Answers the sum.
local begins = redis.call('EXISTS', KEYS[1]) == 0
local sum = redis.call('INCRBY', KEYS[1], ARGV[1])
if begins then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return sum
