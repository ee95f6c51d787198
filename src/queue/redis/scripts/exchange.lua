-- ARGV: most jobs, lease in ms, the lanes (a byte each), time in ms after which a job is aged, share of the aged, most
-- jobs to promote, most rounds; then job, fence, and an offer or nothing (it is done), and so on.
-- Answers: a letter for each release (1 done, 0 not held), the fence of the claim, the time in ms until a job of these
-- lanes may be claimed (-1: nothing waits), the ids of the claimed jobs in one text, first come first.
local limit, lease, aged_after, aged_share, promoted_max, rounds_max =
  tonumber(ARGV[ARGS + 1]), tonumber(ARGV[ARGS + 2]), tonumber(ARGV[ARGS + 4]), tonumber(ARGV[ARGS + 5]),
  ARGV[ARGS + 6], tonumber(ARGV[ARGS + 7])
local lanes = { string.byte(ARGV[ARGS + 3], 1, -1) }

-- === Ends of leases ===

local ended, answer = {}, {}
for i = ARGS + 8, #ARGV, 3 do
  ended[#ended + 1] = ARGV[i]
end
if #ended > 0 then
  local held, records = read_many('HMGET', fences, ended), read_jobs(ended)
  -- Jobs that this very call has moved: false when they left.
  local moved, released = {}, {}
  for i, id in ipairs(ended) do
    local fence, again = ARGV[ARGS + 6 + 3 * i], ARGV[ARGS + 7 + 3 * i]
    local job = records[i]
    if moved[id] ~= nil then
      job = moved[id]
    end
    answer[i] = '0'
    if moved[id] == nil and job and held[i] == fence then
      answer[i] = '1'
      released[#released + 1] = id
      loads[job.key][RUNNING] = loads[job.key][RUNNING] - 1
      moved[id] = job
      if again == '' then
        moved[id] = false
        gone[#gone + 1] = id
        free(job)
      else
        local _, delay = offered(again)
        if delay == 0 then
          place(id, job)
        else
          wait(id, job, delay)
          free(job)
        end
      end
    elseif not job and again ~= '' then
      local new, delay = offered(again)
      load_owners({ new.key })
      wait(id, new, delay)
      moved[id] = new
      answer[i] = '1'
    end
  end
  forget_leases(released)
  refill()
end

-- === Claim ===

local claimed, counters, fence = {}, nil, 0

-- Jobs that have become due wait from now on, at their places.
local function promote()
  local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, promoted_max)
  if #due > 0 then
    call_many('ZREM', delayed, due)
    for i, job in ipairs(read_jobs(due)) do
      if job then
        loads[job.key][DELAYED] = loads[job.key][DELAYED] - 1
        wait(due[i], job, 0)
      end
    end
  end
end

-- Leases jobs that were taken out of `waiting`, or puts them into their owners' backlogs where those run as many as
-- they may. The clock goes on with what is served in order, else new jobs would wait behind ranks nobody was served.
local function start(ids, records, in_order)
  local until_ms, held, ends, first = now + lease, {}, {}, #claimed
  for i, id in ipairs(ids) do
    local job = records[i]
    if job then
      local load = loads[job.key]
      load[PLACED + job.priority] = load[PLACED + job.priority] - 1
      if running_max > 0 and load[RUNNING] >= running_max then
        put_back(id, job)
      else
        load[RUNNING] = load[RUNNING] + 1
        claimed[#claimed + 1] = id
        append(held, id, fence)
        append(ends, until_ms, id)
        if in_order then
          local clock = clock_of(job.lane)
          clock[job.priority] = math.max(clock[job.priority], job.rank)
        end
      end
    end
  end
  call_many('HSET', fences, held)
  call_many('ZADD', leases, ends)
  return #claimed - first
end

-- The share of what strict order would starve: the first jobs of a priority, each in turn, that have waited for long.
local function claim_aged()
  if aged_share == 0 then
    return
  end
  local turn = math.floor(counters.starts / aged_share)
  local count = math.floor((counters.starts + limit) / aged_share) - turn
  local highest = PRIORITY_MIN + turn % (PRIORITY_MAX - PRIORITY_MIN)
  for _, lane in ipairs(lanes) do
    if count > #claimed then
      local from = (PRIORITY_MAX - highest) * RANK
      local first = redis.call('ZRANGEBYSCORE', waiting[lane], from, '+inf', 'LIMIT', 0, count - #claimed)
      local ids, records = {}, {}
      for i, job in ipairs(read_jobs(first)) do
        if job and job.since <= now - aged_after then
          ids[#ids + 1] = first[i]
          records[#records + 1] = job
        end
      end
      call_many('ZREM', waiting[lane], ids)
      start(ids, records, false)
    end
  end
end

-- Takes the first jobs over several lanes out of them: by priority, and within one from each lane in turn.
local function first_of(several, room)
  local found, ids = {}, {}
  for _, entry in ipairs(several) do
    local turn = (entry.number - 1 + counters.starts) % #lanes
    local first = redis.call('ZRANGE', waiting[entry.lane], 0, room - 1, 'WITHSCORES')
    local level, index = -1, 0
    for i = 1, #first, 2 do
      local of = math.floor(first[i + 1] / RANK)
      index = of == level and index + 1 or 0
      level = of
      found[#found + 1] = { level, index, turn, first[i], entry.lane }
    end
  end
  table.sort(found, function(a, b)
    for i = 1, 3 do
      if a[i] ~= b[i] then
        return a[i] < b[i]
      end
    end
    return false
  end)
  local taken = {}
  for i = 1, math.min(room, #found) do
    ids[i] = found[i][4]
    local lane = found[i][5]
    taken[lane] = taken[lane] or {}
    append(taken[lane], ids[i])
  end
  for lane, list in pairs(taken) do
    call_many('ZREM', waiting[lane], list)
  end
  return ids
end

-- Takes the first jobs out of the lanes.
local function first(room)
  local several, ids = {}, {}
  if room == 0 then
    return ids
  end
  for number, lane in ipairs(lanes) do
    if redis.call('ZCARD', waiting[lane]) > 0 then
      several[#several + 1] = { number = number, lane = lane }
    end
  end
  if #several > 1 then
    return first_of(several, room)
  elseif #several == 1 then
    local popped = redis.call('ZPOPMIN', waiting[several[1].lane], room)
    for i = 1, #popped, 2 do
      ids[#ids + 1] = popped[i]
    end
  end
  return ids
end

local function claim()
  local read = redis.call('HMGET', clocks, 'starts', 'fence')
  counters = { starts = tonumber(read[1] or 0) }
  -- Rises even where the counter was lost: no claim has the number of another.
  local number = math.max(tonumber(read[2] or 0) + 1, time[1] * 1000000 + time[2])
  fence = string.format('%.0f', number)
  claim_aged()
  for _ = 1, rounds_max do
    local ids = first(limit - #claimed)
    if start(ids, read_jobs(ids), true) == #ids then
      break
    end
  end
  if #claimed > 0 then
    local written = { 'starts', counters.starts + #claimed, 'fence', fence }
    for lane, clock in pairs(ranks) do
      append(written, lane, struct.pack(CLOCK, unpack(clock, 1, PRIORITY_MAX)))
    end
    call_many('HSET', clocks, written)
  end
end

if limit > 0 then
  promote()
  flush()
  claim()
end
flush()
write_owners()
announce()

local due = -1
for _, lane in ipairs(lanes) do
  if due ~= 0 and redis.call('ZCARD', waiting[lane]) > 0 then
    due = 0
  end
end
if due ~= 0 then
  local earliest = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]
  due = earliest and math.max(0, tonumber(earliest) - now) or -1
end
return { table.concat(answer), fence, due, table.concat(claimed) }
