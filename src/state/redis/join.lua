-- Makes a member part of a set for a time, with a value.
-- KEYS: zset of the members' ends in ms, hash of their values. ARGV: member, value, lifetime in ms, most members to
-- sweep. Answers 1 when it was not part before, else 0.
local ends, values = KEYS[1], KEYS[2]
local member, value, lifetime = ARGV[1], ARGV[2], tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local present = redis.call('ZSCORE', ends, member)
redis.call('ZADD', ends, now + lifetime, member)
redis.call('HSET', values, member, value)

-- A few members whose end has passed are swept by every join, so that a set that nobody reads does not grow.
local gone = redis.call('ZRANGEBYSCORE', ends, '-inf', now, 'LIMIT', 0, ARGV[4])
if #gone > 0 then
  redis.call('ZREM', ends, unpack(gone))
  redis.call('HDEL', values, unpack(gone))
end

-- Both keys live as long as the member that lives longest.
if redis.call('PTTL', ends) < lifetime then
  redis.call('PEXPIRE', ends, lifetime)
end
if redis.call('PTTL', values) < lifetime then
  redis.call('PEXPIRE', values, lifetime)
end
if present and tonumber(present) > now then
  return 0
end
return 1
