-- ARGV: job, priority, delay in ms, and so on. Answers for each: 1 it waits, 0 it is leased.
local jobs, answer = {}, {}
for i = ARGS + 1, #ARGV, 3 do
  jobs[#jobs + 1] = ARGV[i]
end
local known = read_many('HMGET', places, jobs)
local held = read_many('HMGET', owners, jobs)
local number = redis.call('INCRBY', sequence, #jobs) - #jobs

-- A job that is named twice keeps its first number and gets the last due time and priority.
local numbers, offers, order = {}, {}, {}
for i, job in ipairs(jobs) do
  if held[i] then
    answer[i] = 0
  else
    if not offers[job] then
      order[#order + 1] = job
      numbers[job] = known[i] and tonumber(known[i]) % RANK or number + i
    end
    local first = ARGS + (i - 1) * 3 + 1
    offers[job] = { place_of(tonumber(ARGV[first + 1]), numbers[job]), tonumber(ARGV[first + 2]) }
    answer[i] = 1
  end
end

local new_places, now_waiting, now_delayed, not_waiting, not_delayed = {}, {}, {}, {}, {}
for _, job in ipairs(order) do
  local place, delay = offers[job][1], offers[job][2]
  append(new_places, job, place)
  if delay > 0 then
    append(now_delayed, now + delay, job)
    not_waiting[#not_waiting + 1] = job
  else
    append(now_waiting, place, job)
    not_delayed[#not_delayed + 1] = job
  end
end
call_many('ZREM', waiting, not_waiting)
call_many('ZREM', delayed, not_delayed)
call_many('HSET', places, new_places)
add_waiting(now_waiting)
add_delayed(now_delayed)
return answer
