-- ARGV: jobs. Answers for each: 1 the queue knows it, else 0.
local jobs, answer = {}, {}
for i = ARGS + 1, #ARGV do
  jobs[#jobs + 1] = ARGV[i]
end
for i, place in ipairs(read_many('HMGET', places, jobs)) do
  answer[i] = place and 1 or 0
end
return answer
