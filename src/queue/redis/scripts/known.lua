-- ARGV: jobs. Answers a letter for each: 1 the queue knows it, else 0.
local answer = {}
for i, record in ipairs(read_many('HMGET', jobs, rest_of_arguments(ARGS + 1))) do
  answer[i] = record and '1' or '0'
end
return table.concat(answer)
