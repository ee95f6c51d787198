-- ARGV: owners. Answers for each: jobs that wait, due or not, and jobs that are leased, over all lanes.
local answer, keys = {}, {}
for _, owner in ipairs(rest_of_arguments(ARGS + 1)) do
  for lane in pairs(waiting) do
    keys[#keys + 1] = string.char(lane) .. owner
  end
end
load_owners(keys)
for _, owner in ipairs(rest_of_arguments(ARGS + 1)) do
  local waits, runs = 0, 0
  for lane in pairs(waiting) do
    local load = loads[string.char(lane) .. owner]
    runs = runs + load[RUNNING]
    for i = DELAYED, PLACED + PRIORITY_MAX do
      waits = waits + load[i]
    end
  end
  append(answer, waits, runs)
end
return answer
