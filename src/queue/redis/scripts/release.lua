-- ARGV: owner, then job and time in ms after which it waits again (-1: never, it is done), and so on.
-- Answers for each: 1 released, 0 not held by the owner.
local DONE = -1
local owner, jobs, answer = ARGV[ARGS + 1], {}, {}
for i = ARGS + 2, #ARGV, 2 do
  jobs[#jobs + 1] = ARGV[i]
end
local held = read_many('HMGET', owners, jobs)
local known = read_many('HMGET', places, jobs)

local released, done, now_waiting, now_delayed, seen = {}, {}, {}, {}, {}
for i, job in ipairs(jobs) do
  if held[i] == owner and not seen[job] then
    local delay = tonumber(ARGV[ARGS + 2 + (i - 1) * 2 + 1])
    local place = known[i] or place_of(PRIORITY_MIN, 0)
    if delay == DONE then
      done[#done + 1] = job
    elseif delay > 0 then
      append(now_delayed, now + delay, job)
    else
      append(now_waiting, place, job)
    end
    seen[job] = true
    released[#released + 1] = job
    answer[i] = 1
  else
    answer[i] = 0
  end
end
forget_leases(released)
call_many('HDEL', places, done)
add_waiting(now_waiting)
add_delayed(now_delayed)
return answer
