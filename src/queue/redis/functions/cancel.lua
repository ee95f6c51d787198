-- ARGV: job. Answers 1 when somebody holds it, who will hear of it at the next renewal; else 0.
register('cancel', function()
  local job = ARGV[ARGS + 1]
  local record = call('HGET', jobs, job)
  if not record or not is_held(record) then
    return 0
  end
  call('SADD', stops, job)
  return 1
end)
