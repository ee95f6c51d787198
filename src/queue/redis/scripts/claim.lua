-- ARGV: owner, most jobs, lease in ms, most jobs to promote. Answers the claimed jobs, first come first.
local owner, limit, lease, promoted_max = ARGV[ARGS + 1], tonumber(ARGV[ARGS + 2]), ARGV[ARGS + 3], ARGV[ARGS + 4]

-- Jobs that have become due wait from now on, at their places.
local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, promoted_max)
if #due > 0 then
  local due_places, promoted = read_many('HMGET', places, due), {}
  for i, job in ipairs(due) do
    append(promoted, due_places[i] or place_of(PRIORITY_MIN, 0), job)
  end
  call_many('ZADD', waiting, promoted)
  call_many('ZREM', delayed, due)
end

local popped = redis.call('ZPOPMIN', waiting, limit)
local claimed, held, ends = {}, {}, {}
for i = 1, #popped, 2 do
  local job = popped[i]
  claimed[#claimed + 1] = job
  append(held, job, owner)
  append(ends, now + lease, job)
end
call_many('HSET', owners, held)
call_many('ZADD', leases, ends)
return claimed
