-- ARGV: lease in ms; then job, fence, and so on. Answers a letter for each: 0 held, 1 held but to be stopped, 2 lost,
-- 3 unknown.
register('renew', function()
  local HELD, CANCELLED, LOST, UNKNOWN = '0', '1', '2', '3'
  local lease, ids = tonumber(ARGV[ARGS + 1]), {}
  for i = ARGS + 2, #ARGV, 2 do
    ids[#ids + 1] = ARGV[i]
  end
  local records, stopped = read_many('HMGET', jobs, ids), read_many('SMISMEMBER', stops, ids)

  local answer, ends = {}, {}
  for i, id in ipairs(ids) do
    local record = records[i]
    if record and sub(record, 1, 8) == ARGV[ARGS + 1 + 2 * i] then
      append(ends, now() + lease, id)
      answer[i] = stopped[i] == 1 and CANCELLED or HELD
    else
      answer[i] = record and LOST or UNKNOWN
    end
  end
  call_many('ZADD', leases, ends)
  return table.concat(answer)
end)
