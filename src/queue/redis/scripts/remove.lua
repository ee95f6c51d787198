-- ARGV: jobs. They leave the queue wherever they stand. Answers how many were known.
local ids = rest_of_arguments(ARGS + 1)
local records, held = read_jobs(ids), read_many('HMGET', fences, ids)
local leased, others, of_others, seen = {}, {}, {}, {}
for i, id in ipairs(ids) do
  local job = records[i]
  if job and not seen[id] then
    seen[id] = true
    gone[#gone + 1] = id
    free(job)
    if held[i] then
      leased[#leased + 1] = id
      loads[job.key][RUNNING] = loads[job.key][RUNNING] - 1
    else
      others[#others + 1] = id
      of_others[#of_others + 1] = job
    end
  end
end
local known = #gone
forget_leases(leased)
leave(others, of_others)
settle()
return known
