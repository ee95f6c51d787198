-- ARGV: job. Answers 1 when somebody holds it, who will hear of it at the next renewal; else 0.
local job = ARGV[ARGS + 1]
if redis.call('HEXISTS', fences, job) == 0 then
  return 0
end
redis.call('SADD', stops, job)
return 1
