-- Answers the time in ms until a job may be claimed: 0 for now, -1 where nothing waits.
if redis.call('ZCARD', waiting) > 0 then
  return 0
end
local earliest = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]
if not earliest then
  return -1
end
return math.max(0, tonumber(earliest) - now)
