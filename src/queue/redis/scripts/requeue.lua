-- ARGV: jobs. Answers for each: 1 it waits at its old place, 0 its lease has not run out or it has none.
local jobs, answer = {}, {}
for i = ARGS + 1, #ARGV do
  jobs[#jobs + 1] = ARGV[i]
end
local ends = read_many('ZMSCORE', leases, jobs)
local known = read_many('HMGET', places, jobs)

local freed, now_waiting, seen = {}, {}, {}
for i, job in ipairs(jobs) do
  if ends[i] and tonumber(ends[i]) <= now and not seen[job] then
    seen[job] = true
    freed[#freed + 1] = job
    append(now_waiting, known[i] or place_of(PRIORITY_MIN, 0), job)
    answer[i] = 1
  else
    answer[i] = 0
  end
end
forget_leases(freed)
add_waiting(now_waiting)
return answer
