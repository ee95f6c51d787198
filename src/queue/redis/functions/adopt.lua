-- ARGV: lease in ms, job, fence, the job as it is offered. Answers 1 when the fence holds the job now, 0 when another
-- does.
register('adopt', function()
  local lease, id, fence = tonumber(ARGV[ARGS + 1]), ARGV[ARGS + 2], ARGV[ARGS + 3]
  local records = read_jobs({ id })
  local record = records[1]
  if record and is_held(record) then
    if sub(record, 1, 8) ~= fence then
      return 0
    end
  else
    local rank = 0
    if record then
      rank = leave({ id }, { record })[1]
    else
      record = FREE .. ARGV[ARGS + 4]
    end
    local of, level = owners_of({ record })
    of[1][RUNNING] = of[1][RUNNING] + 1
    rank = rank > 0 and rank or next_rank(record, level[1])
    serve(record, rank)
    append(saved, id, with_rank(record, fence, rank))
    flush()
    write_owners()
    write_clocks({})
  end
  call('ZADD', leases, now() + lease, id)
  return 1
end)
