-- ARGV: jobs. Answers a letter for each: 1 it waits at its old place, 0 its lease has not run out or it has none.
register('requeue', function()
  local ids, answer = {}, {}
  for i = ARGS + 1, #ARGV do
    ids[#ids + 1] = ARGV[i]
  end
  local ends = read_many('ZMSCORE', leases, ids)
  local records, of, level = read_jobs(ids)

  local freed_ids, seen = {}, {}
  for i, id in ipairs(ids) do
    local record = records[i]
    answer[i] = '0'
    if ends[i] and tonumber(ends[i]) <= now() and record and not seen[id] then
      seen[id] = true
      freed_ids[#freed_ids + 1] = id
      of[i][RUNNING] = of[i][RUNNING] - 1
      place(id, record, rank_of(record), level[i])
      answer[i] = '1'
    end
  end
  forget_leases(freed_ids)
  flush()
  write_owners()
  announce()
  return table.concat(answer)
end)
