-- ARGV: job. Answers its position, 1 being next; 0 where it does not wait.
local id = ARGV[ARGS + 1]
local record = redis.call('HGET', jobs, id)
if not record then
  return 0
end
local job = job_of(record)
local rank = redis.call('ZRANK', waiting[job.lane], id)
if rank then
  return rank + 1
end
local behind = redis.call('ZRANK', backlog_of .. job.key, id)
return behind and redis.call('ZCARD', waiting[job.lane]) + behind + 1 or 0
