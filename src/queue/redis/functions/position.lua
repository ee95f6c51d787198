-- ARGV: job. Answers its position, 1 being next; 0 where it does not wait.
register('position', function()
  local id = ARGV[ARGS + 1]
  local record = call('HGET', jobs, id)
  if not record then
    return 0
  end
  local lane = waiting[lane_of(record)]
  local before = call('ZRANK', lane, id)
  if before then
    return before + 1
  end
  before = call('ZRANK', backlog_of(key_of(record)), id)
  return before and call('ZCARD', lane) + before + 1 or 0
end)
