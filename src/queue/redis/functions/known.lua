-- ARGV: jobs. Answers a letter for each: 1 the queue knows it, else 0.
register('known', function()
  local ids, answer = {}, {}
  for i = ARGS + 1, #ARGV do
    ids[#ids + 1] = ARGV[i]
  end
  for i, record in ipairs(read_many('HMGET', jobs, ids)) do
    answer[i] = record and '1' or '0'
  end
  return table.concat(answer)
end)
