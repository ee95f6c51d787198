-- ARGV: lease in ms; then job, fence, and so on. Answers a letter for each: 0 held, 1 held but to be stopped, 2 lost,
-- 3 unknown.
local HELD, CANCELLED, LOST, UNKNOWN = '0', '1', '2', '3'
local lease, ids = tonumber(ARGV[ARGS + 1]), {}
for i = ARGS + 2, #ARGV, 2 do
  ids[#ids + 1] = ARGV[i]
end
local known = read_many('HMGET', jobs, ids)
local held = read_many('HMGET', fences, ids)
local stopped = read_many('SMISMEMBER', stops, ids)

local answer, ends = {}, {}
for i, id in ipairs(ids) do
  if held[i] == ARGV[ARGS + 1 + 2 * i] then
    append(ends, now + lease, id)
    answer[i] = stopped[i] == 1 and CANCELLED or HELD
  elseif held[i] or known[i] then
    answer[i] = LOST
  else
    answer[i] = UNKNOWN
  end
end
call_many('ZADD', leases, ends)
return table.concat(answer)
