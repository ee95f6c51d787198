-- ARGV: owners. Answers for each: jobs that wait, due or not, and jobs that are leased, over all lanes.
register('loads', function()
  local answer = {}
  for i = ARGS + 1, #ARGV do
    local waits, runs = 0, 0
    for lane in pairs(waiting) do
      local fields = { string.char(lane) .. ARGV[i] }
      for p = PRIORITY_MIN, PRIORITY_MAX do
        fields[p + 1] = fields[1] .. string.char(p)
      end
      local found = call('HMGET', owners, unpack(fields))
      if found[1] then
        local running, behind = struct.unpack(LOAD, found[1])
        runs, waits = runs + running, waits + behind
      end
      for p = PRIORITY_MIN, PRIORITY_MAX do
        if found[p + 1] then
          local placed, late = struct.unpack(LEVEL, found[p + 1])
          waits = waits + placed + late
        end
      end
    end
    append(answer, waits, runs)
  end
  return answer
end)
