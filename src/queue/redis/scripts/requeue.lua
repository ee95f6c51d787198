-- ARGV: jobs. Answers a letter for each: 1 it waits at its old place, 0 its lease has not run out or it has none.
local ids, answer = rest_of_arguments(ARGS + 1), {}
local ends, records = read_many('ZMSCORE', leases, ids), read_jobs(ids)

local freed_ids, seen = {}, {}
for i, id in ipairs(ids) do
  answer[i] = '0'
  if ends[i] and tonumber(ends[i]) <= now and records[i] and not seen[id] then
    local job = records[i]
    seen[id] = true
    freed_ids[#freed_ids + 1] = id
    loads[job.key][RUNNING] = loads[job.key][RUNNING] - 1
    place(id, job)
    answer[i] = '1'
  end
end
forget_leases(freed_ids)
flush()
write_owners()
announce()
return table.concat(answer)
