-- What every script of the queue begins with: the names of the keys, the clock, records, and how a job moves.
--
-- jobs      hash job → record, for every job that the queue knows; kept through retry, delay and recovery
-- owners    hash lane and owner → record of what they have there
-- clocks    hash lane → the rank served last per priority; 'starts' and 'fence' are counters
-- delayed   zset job → due time in ms
-- leases    zset job → end of the lease in ms
-- fences    hash job → number of the claim that holds it
-- stops     set of the leased jobs that somebody wants to stop
-- waiting   zset per lane, job → place: whoever is lowest is claimed first
-- backlog…  zset per lane and owner, job → place among the owner's own: what has no room in `waiting`
--
-- Jobs and owners are the 16 bytes of their UUIDs, so that equal places are served in the order of creation.
local jobs, owners, clocks, delayed, leases, fences, stops =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local waiting = { [0] = KEYS[8], [1] = KEYS[9] }
local backlog_of = KEYS[10]
-- The channel on which processes without work listen, and the most jobs of an owner that run at once (0: any).
local wake, running_max = ARGV[1], tonumber(ARGV[2])
local ARGS = 2
local PRIORITY_MIN, PRIORITY_MAX, BATCH_MAX = 1, 10, 1000
-- A place is (PRIORITY_MAX - priority) * RANK + rank, exact in a double while ranks stay below 2^48.
local RANK = 281474976710656
-- Lua's stack holds about 8,000 values; even, since some lists are of pairs.
local CHUNK = 1000

-- priority, lane, rank (0: never stood anywhere but in a backlog), since when it waits in ms, owner
local JOB = '>BBI8I8c16'
-- priority, lane, delay in ms, since when it waits in ms, owner: as jobs are offered
local OFFER = '>BBI8I8c16'
-- running, delayed, in the backlog; in `waiting` and the rank given last, one per priority
local OWNER = '>' .. string.rep('I4', 13) .. string.rep('I8', 10)
local RUNNING, DELAYED, BACKLOG, PLACED, LAST = 1, 2, 3, 3, 13
local CLOCK = '>' .. string.rep('I8', 10)

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- === Calls with many arguments ===

-- The same call for a list of any length; nothing for an empty one.
local function call_many(command, key, list)
  for first = 1, #list, CHUNK do
    redis.call(command, key, unpack(list, first, math.min(first + CHUNK - 1, #list)))
  end
end

-- One value per entry of a list of any length (HMGET, ZMSCORE, SMISMEMBER).
local function read_many(command, key, list)
  if #list <= CHUNK then
    return #list > 0 and redis.call(command, key, unpack(list)) or {}
  end
  local values = {}
  for first = 1, #list, CHUNK do
    local last = math.min(first + CHUNK - 1, #list)
    local part = redis.call(command, key, unpack(list, first, last))
    for i = 1, last - first + 1 do
      values[first + i - 1] = part[i]
    end
  end
  return values
end

local function append(list, first, second)
  list[#list + 1] = first
  list[#list + 1] = second
end

local function rest_of_arguments(first)
  local list = {}
  for i = first, #ARGV do
    list[#list + 1] = ARGV[i]
  end
  return list
end

-- === Records ===

local ranks = {}

-- The ranks served last in a lane, one per priority.
local function clock_of(lane)
  local clock = ranks[lane]
  if not clock then
    local record = redis.call('HGET', clocks, lane)
    clock = record and { struct.unpack(CLOCK, record) } or { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
    ranks[lane] = clock
  end
  return clock
end

local loads, freed = {}, {}

-- Reads what these owners (lane and owner, as one text) have, once each.
local function load_owners(keys)
  local missing = {}
  for _, key in ipairs(keys) do
    if not loads[key] then
      loads[key] = true
      missing[#missing + 1] = key
    end
  end
  for i, record in ipairs(read_many('HMGET', owners, missing)) do
    loads[missing[i]] = record and { struct.unpack(OWNER, record) }
      or { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
  end
end

local function owner_key(job)
  return string.char(job.lane) .. job.owner
end

local function job_of(record)
  local job = {}
  job.priority, job.lane, job.rank, job.since, job.owner = struct.unpack(JOB, record)
  job.key = owner_key(job)
  return job
end

-- A job as it was offered, and its delay. Its record is not written yet.
local function offered(packed)
  local job, delay = { rank = 0, unsaved = true }, nil
  job.priority, job.lane, delay, job.since, job.owner = struct.unpack(OFFER, packed)
  job.key = owner_key(job)
  return job, delay
end

-- The records of jobs, false where there is none; their owners are loaded.
local function read_jobs(ids)
  local found, keys = {}, {}
  for i, record in ipairs(read_many('HMGET', jobs, ids)) do
    found[i] = record and job_of(record)
    if record then
      keys[#keys + 1] = found[i].key
    end
  end
  load_owners(keys)
  return found
end

-- === Moves: noted here, written by `flush` ===

local gone, saved, now_delayed, now_backlogged = {}, {}, {}, {}
local now_waiting = { [0] = {}, [1] = {} }

local function save(id, job)
  if job.unsaved then
    append(saved, id, struct.pack(JOB, job.priority, job.lane, job.rank, job.since, job.owner))
    job.unsaved = nil
  end
end

-- A job without a rank comes behind those that its owner has; one from the backlog when it leaves that.
local function give_rank(job)
  if job.rank == 0 then
    local load, last = loads[job.key], LAST + job.priority
    load[last] = math.max(clock_of(job.lane)[job.priority], load[last]) + 1
    job.rank, job.unsaved = load[last], true
  end
end

local function place(id, job)
  local load = loads[job.key]
  give_rank(job)
  load[PLACED + job.priority] = load[PLACED + job.priority] + 1
  append(now_waiting[job.lane], (PRIORITY_MAX - job.priority) * RANK + job.rank, id)
  save(id, job)
end

local function put_back(id, job)
  local list = now_backlogged[job.key]
  if not list then
    list = {}
    now_backlogged[job.key] = list
  end
  loads[job.key][BACKLOG] = loads[job.key][BACKLOG] + 1
  append(list, (PRIORITY_MAX - job.priority) * RANK + job.since, id)
  save(id, job)
end

-- Whether one more job of this priority may take a place. Jobs of lower priority are not counted: they never stand in
-- the way of a higher one.
local function has_room(load, priority)
  if running_max == 0 then
    return true
  end
  local taken = load[RUNNING]
  for p = priority, PRIORITY_MAX do
    taken = taken + load[PLACED + p]
  end
  return taken < running_max
end

-- The job waits: delayed, in `waiting` where its owner has room there, or in the backlog.
local function wait(id, job, delay)
  local load = loads[job.key]
  if delay > 0 then
    load[DELAYED] = load[DELAYED] + 1
    give_rank(job)
    append(now_delayed, now + delay, id)
    save(id, job)
  elseif has_room(load, job.priority) then
    place(id, job)
  else
    put_back(id, job)
  end
end

local function free(job)
  freed[job.key] = (freed[job.key] or 0) + 1
end

-- Takes jobs that are not leased out of wherever they stand.
local function leave(ids, records)
  local by_lane, left = { [0] = {}, [1] = {} }, {}
  for i, id in ipairs(ids) do
    append(by_lane[records[i].lane], id, records[i])
  end
  for lane, list in pairs(by_lane) do
    local of_lane = {}
    for i = 1, #list, 2 do
      of_lane[#of_lane + 1] = list[i]
    end
    for i, score in ipairs(read_many('ZMSCORE', waiting[lane], of_lane)) do
      local id, job = of_lane[i], list[2 * i]
      if score then
        local place = PLACED + job.priority
        loads[job.key][place] = loads[job.key][place] - 1
      else
        append(left, id, job)
      end
    end
    call_many('ZREM', waiting[lane], of_lane)
  end
  for i = 1, #left, 2 do
    local load = loads[left[i + 1].key]
    if redis.call('ZREM', delayed, left[i]) == 1 then
      load[DELAYED] = load[DELAYED] - 1
    elseif redis.call('ZREM', backlog_of .. left[i + 1].key, left[i]) == 1 then
      load[BACKLOG] = load[BACKLOG] - 1
    end
  end
end

-- The end of leases, whatever follows.
local function forget_leases(ids)
  call_many('ZREM', leases, ids)
  call_many('HDEL', fences, ids)
  call_many('SREM', stops, ids)
end

-- === Writes ===

local function flush_backlogs()
  for key, list in pairs(now_backlogged) do
    call_many('ZADD', backlog_of .. key, list)
  end
  now_backlogged = {}
end

-- Backlogs move up where places became free, or are.
local function refill()
  local moved, records = {}, nil
  flush_backlogs()
  for key, load in pairs(loads) do
    if load[BACKLOG] > 0 then
      local places = freed[key] or 0
      if running_max == 0 then
        places = BATCH_MAX
      else
        local unused = running_max - load[RUNNING]
        for p = PRIORITY_MIN, PRIORITY_MAX do
          unused = unused - load[PLACED + p]
        end
        places = math.min(math.max(places, unused), BATCH_MAX)
      end
      if places > 0 then
        local first = redis.call('ZPOPMIN', backlog_of .. key, places)
        load[BACKLOG] = load[BACKLOG] - #first / 2
        for i = 1, #first, 2 do
          moved[#moved + 1] = first[i]
        end
      end
    end
  end
  freed = {}
  records = read_jobs(moved)
  for i, id in ipairs(moved) do
    if records[i] then
      place(id, records[i])
    end
  end
end

local slept = {}

-- Jobs go where they were moved to.
local function flush()
  call_many('HDEL', jobs, gone)
  call_many('HSET', jobs, saved)
  for lane, list in pairs(now_waiting) do
    if #list > 0 then
      if slept[lane] == nil then
        slept[lane] = redis.call('ZCARD', waiting[lane]) == 0
      end
      call_many('ZADD', waiting[lane], list)
      now_waiting[lane] = {}
    end
  end
  flush_backlogs()
  if #now_delayed > 0 then
    local before = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]
    call_many('ZADD', delayed, now_delayed)
    local after = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]
    slept.delayed = not before or tonumber(after) < tonumber(before)
  end
  gone, saved, now_delayed = {}, {}, {}
end

-- What owners have, and the clocks; owners without jobs are forgotten.
local function write_owners()
  local written, idle = {}, {}
  for key, load in pairs(loads) do
    local all = 0
    for i = RUNNING, PLACED + PRIORITY_MAX do
      all = all + load[i]
    end
    if all == 0 then
      idle[#idle + 1] = key
    else
      append(written, key, struct.pack(OWNER, unpack(load, 1, LAST + PRIORITY_MAX)))
    end
  end
  call_many('HSET', owners, written)
  call_many('HDEL', owners, idle)
end

-- Tells the waiting processes, but only of what they do not know: something where there was nothing to claim, or a
-- due time that has come nearer. Otherwise they are awake, or sleep until the time that they know.
local function announce()
  local new = slept.delayed
  for lane, key in pairs(waiting) do
    new = new or (slept[lane] and redis.call('ZCARD', key) > 0)
  end
  if new then
    redis.call('PUBLISH', wake, '')
  end
end

-- The end of a script that moved jobs.
local function settle()
  refill()
  flush()
  write_owners()
  announce()
end
