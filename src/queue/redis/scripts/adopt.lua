-- ARGV: owner, lease in ms, job. Answers 1 when the owner holds the job now, 0 when somebody else does.
local owner, lease, job = ARGV[ARGS + 1], ARGV[ARGS + 2], ARGV[ARGS + 3]
local holder = redis.call('HGET', owners, job)
if holder and holder ~= owner then
  return 0
end
if redis.call('HEXISTS', places, job) == 0 then
  redis.call('HSET', places, job, place_of(PRIORITY_MIN, redis.call('INCR', sequence)))
end
redis.call('ZREM', waiting, job)
redis.call('ZREM', delayed, job)
redis.call('HSET', owners, job, owner)
redis.call('ZADD', leases, now + lease, job)
return 1
