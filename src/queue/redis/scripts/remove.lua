-- ARGV: jobs. They leave the queue wherever they stand.
local jobs = {}
for i = ARGS + 1, #ARGV do
  jobs[#jobs + 1] = ARGV[i]
end
call_many('ZREM', waiting, jobs)
call_many('ZREM', delayed, jobs)
call_many('HDEL', places, jobs)
forget_leases(jobs)
return #jobs
