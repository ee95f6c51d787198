-- ARGV: lease in ms, job, fence, offer. Answers 1 when the fence holds the job now, 0 when another does.
local lease, id, fence = tonumber(ARGV[ARGS + 1]), ARGV[ARGS + 2], ARGV[ARGS + 3]
local holder = redis.call('HGET', fences, id)
if holder and holder ~= fence then
  return 0
end
if not holder then
  local job = read_jobs({ id })[1]
  if job then
    leave({ id }, { job })
  else
    job = offered(ARGV[ARGS + 4])
    load_owners({ job.key })
  end
  give_rank(job)
  save(id, job)
  loads[job.key][RUNNING] = loads[job.key][RUNNING] + 1
  redis.call('HSET', fences, id, fence)
  flush()
  write_owners()
end
redis.call('ZADD', leases, now + lease, id)
return 1
