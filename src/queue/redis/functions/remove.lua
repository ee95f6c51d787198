-- ARGV: jobs. They leave the queue wherever they stand. Answers how many were known.
register('remove', function()
  local ids = {}
  for i = ARGS + 1, #ARGV do
    ids[#ids + 1] = ARGV[i]
  end
  local records, of = read_jobs(ids)
  local leased, others, of_others, seen = {}, {}, {}, {}
  for i, id in ipairs(ids) do
    local record = records[i]
    if record and not seen[id] then
      seen[id] = true
      gone[#gone + 1] = id
      free(record)
      if is_held(record) then
        leased[#leased + 1] = id
        of[i][RUNNING] = of[i][RUNNING] - 1
      else
        others[#others + 1] = id
        of_others[#of_others + 1] = record
      end
    end
  end
  local known = #gone
  forget_leases(leased)
  leave(others, of_others)
  settle()
  return known
end)
