-- ARGV: owner, lease in ms, jobs. Answers for each: 0 held, 1 held but to be stopped, 2 lost, 3 unknown.
local HELD, CANCELLED, LOST, UNKNOWN = 0, 1, 2, 3
local owner, lease, jobs = ARGV[ARGS + 1], ARGV[ARGS + 2], {}
for i = ARGS + 3, #ARGV do
  jobs[#jobs + 1] = ARGV[i]
end
local known = read_many('HMGET', places, jobs)
local held = read_many('HMGET', owners, jobs)
local stopped = read_many('SMISMEMBER', stops, jobs)

local answer, ends = {}, {}
for i, job in ipairs(jobs) do
  if held[i] == owner then
    append(ends, now + lease, job)
    answer[i] = stopped[i] == 1 and CANCELLED or HELD
  elseif held[i] or known[i] then
    answer[i] = LOST
  else
    answer[i] = UNKNOWN
  end
end
call_many('ZADD', leases, ends)
return answer
