-- Takes a member out of a set.
-- KEYS: zset of the members' ends in ms, hash of their values. ARGV: member. Answers 1 when it was part, else 0.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local present = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
if present and tonumber(present) > now then
  return 1
end
return 0
