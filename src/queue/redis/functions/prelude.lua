-- What the functions of the queue share: the names of the keys, the clock, records, and how a job moves.
--
-- jobs      hash job → record, for every job that the queue knows; kept through retry, delay and recovery
-- owners    hash lane and owner → their LOAD, lane, owner and priority → their LEVEL; nothing where both are empty
-- clocks    hash lane → the rank served last per priority; 'starts' and 'fence' are counters
-- delayed   zset job → due time in ms
-- leases    zset job → end of the lease in ms
-- stops     set of the leased jobs that somebody wants to stop
-- waiting   zset per lane, job → place: whoever is lowest is claimed first
-- backlog…  zset per lane and owner, job → place among the owner's own: what has no room in `waiting`
--
-- Jobs and owners are the 16 bytes of their UUIDs, so that equal places are served in the order of creation.
local jobs, owners, clocks, delayed, leases, stops, waiting, backlogs
-- What all calls are told, before arguments of their own: the channel on which processes without work listen, and the
-- most jobs of an owner that run at once (0: any).
local ARGV, wake, running_max
local ARGS = 2
-- What the server's clock said to this call, in s and µs; it is asked where it is needed.
local time
local PRIORITY_MIN, PRIORITY_MAX = 1, 10
-- A place is (PRIORITY_MAX - priority) * RANK + rank, exact in a double while ranks stay below 2^48.
local RANK = 281474976710656
-- Lua's stack holds about 8,000 values; even, since some lists are of pairs.
local CHUNK = 1000

-- A record is text, cut where it is used, since that costs least: the fence (8 bytes, zero where nobody holds the job),
-- the job as it was offered (lane 1, owner 16, priority 1, since when it waits in ms 8), and the rank (8), which is left
-- out while the job stands in `waiting` for the first time or in a backlog: its place says it, or it has none.
local FREE = '\0\0\0\0\0\0\0\0'
-- Bytes of lane and owner, which name a backlog in hexadecimal digits.
local KEY = 17
local HEX = ('%02x'):rep(KEY)
local NUMBER, LOAD, LEVEL, CLOCK = '>I8', '>I4I4', '>I4I4I8', '>I8I8I8I8I8I8I8I8I8I8'
-- Redis searches a small hash from end to end, until it holds a text of more than 64 bytes. A call that writes more than so
-- many names and values to `owners` puts one there.
local SEARCHED_MAX, LONG = 32, ('-'):rep(65)
-- Of a LOAD; of a LEVEL: jobs in `waiting`, delayed jobs, the rank given last (0 where none of both is left).
local RUNNING, BACKLOG, PLACED, DELAYED, LAST = 1, 2, 1, 2, 3

-- Found by the first call: while a library is loaded, it sees nothing but what registers functions.
local call, pack, unpack_number, sub, byte, max, min

-- What this call has read and changed so far; `begin` makes it empty. Of owners: what they have, and how many places of
-- theirs became free. Of jobs: where they go, written by `flush`. Of lanes: whether nothing waited before.
local ranks, loads, levels, freed, gone, saved, now_waiting, now_delayed, now_backlogged, slept

local function begin(keys, args)
  if not call then
    call, pack, unpack_number, sub, byte = redis.call, struct.pack, struct.unpack, string.sub, string.byte
    max, min = math.max, math.min
  end
  jobs, owners, clocks, delayed, leases, stops = keys[1], keys[2], keys[3], keys[4], keys[5], keys[6]
  waiting, backlogs = { [0] = keys[7], [1] = keys[8] }, keys[9]
  ARGV, wake, running_max = args, args[1], tonumber(args[2])
  time = nil
  ranks, loads, levels, freed, gone, saved, now_delayed, now_backlogged, slept = {}, {}, {}, {}, {}, {}, {}, {}, {}
  now_waiting = { [0] = {}, [1] = {} }
end

local function now_us()
  time = time or call('TIME')
  return time[1] * 1000000 + time[2]
end
local function now()
  return math.floor(now_us() / 1000)
end

-- Makes `work` a function of the server, which begins anew each time: nothing is left of a call that failed.
local function register(name, work)
  redis.register_function(name .. '_' .. VERSION, function(keys, args)
    begin(keys, args)
    return work()
  end)
end

-- === Calls with many arguments ===

-- The same call for a list of any length; nothing for an empty one.
local function call_many(command, key, list)
  local n = #list
  if n > CHUNK then
    for first = 1, n, CHUNK do
      call(command, key, unpack(list, first, min(first + CHUNK - 1, n)))
    end
  elseif n > 0 then
    call(command, key, unpack(list))
  end
end

-- One value per entry of a list of any length (HMGET, ZMSCORE, SMISMEMBER).
local function read_many(command, key, list)
  local n = #list
  if n <= CHUNK then
    return n > 0 and call(command, key, unpack(list)) or {}
  end
  local values = {}
  for first = 1, n, CHUNK do
    local last = min(first + CHUNK - 1, n)
    local part = call(command, key, unpack(list, first, last))
    for i = 1, last - first + 1 do
      values[first + i - 1] = part[i]
    end
  end
  return values
end

local function append(list, first, second)
  local n = #list
  list[n + 1] = first
  list[n + 2] = second
end

-- === Records ===

-- Lane and owner, lane, priority, since: of a record.
local function key_of(record)
  return sub(record, 9, 25)
end
local function lane_of(record)
  return byte(record, 9)
end
local function priority_of(record)
  return byte(record, 26)
end
local function since_of(record)
  return (unpack_number(NUMBER, record, 27))
end
-- 0 where it has none.
local function rank_of(record)
  return #record > 34 and (unpack_number(NUMBER, record, 35)) or 0
end
local function is_held(record)
  return sub(record, 1, 8) ~= FREE
end
local function with_rank(record, fence, rank)
  return fence .. sub(record, 9, 34) .. pack(NUMBER, rank)
end
local function place_of(priority, rank)
  return (PRIORITY_MAX - priority) * RANK + rank
end

-- The ranks served last in a lane, one per priority; of a record that was `read` before, where that is so.
local function clock_of(lane, read)
  local clock = ranks[lane]
  if not clock then
    local record = read or call('HGET', clocks, lane)
    clock = record and { struct.unpack(CLOCK, record) } or { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
    ranks[lane] = clock
  end
  return clock
end

-- The clock goes on with what is served in order.
local function serve(record, rank)
  local clock, priority = clock_of(byte(record, 9)), byte(record, 26)
  clock[priority] = max(clock[priority], rank)
end

local function write_clocks(fields)
  for lane, clock in pairs(ranks) do
    append(fields, lane, pack(CLOCK, unpack(clock, 1, PRIORITY_MAX)))
  end
  call_many('HSET', clocks, fields)
end

-- Reads what the owners of these records have, once each. Answers their loads and levels (not where `without_levels`), in
-- the order of the records.
local function owners_of(records, without_levels)
  local keys, deep, missing, n = {}, {}, {}, 0
  for i = 1, #records do
    local record = records[i]
    if record then
      local key = sub(record, 9, 25)
      keys[i] = key
      if not loads[key] then
        loads[key] = true
        n = n + 1
        missing[n] = key
      end
      if not without_levels then
        local level = sub(record, 9, 26)
        deep[i] = level
        if not levels[level] then
          levels[level] = true
          n = n + 1
          missing[n] = level
        end
      end
    end
  end
  local found = read_many('HMGET', owners, missing)
  for i = 1, n do
    local key, record = missing[i], found[i]
    if #key == KEY then
      loads[key] = record and { struct.unpack(LOAD, record) } or { 0, 0 }
    else
      levels[key] = record and { struct.unpack(LEVEL, record) } or { 0, 0, 0 }
    end
  end
  for i = 1, #records do
    if keys[i] then
      keys[i], deep[i] = loads[keys[i]], deep[i] and levels[deep[i]]
    end
  end
  return keys, deep
end

-- The records of jobs, false where there is none; the loads and levels of their owners.
local function read_jobs(ids)
  local records = read_many('HMGET', jobs, ids)
  return records, owners_of(records)
end

-- === Moves: noted here, written by `flush` ===

-- A job without a rank comes behind those that its owner has; one from the backlog when it leaves that.
local function next_rank(record, level)
  local rank = max(clock_of(byte(record, 9))[byte(record, 26)], level[LAST]) + 1
  level[LAST] = rank
  return rank
end

-- Into `waiting`, under the rank that it has or gets.
local function place(id, record, rank, level)
  if rank == 0 then
    rank = next_rank(record, level)
  end
  level[PLACED] = level[PLACED] + 1
  local list, n = now_waiting[byte(record, 9)], #saved
  local m = #list
  list[m + 1] = (PRIORITY_MAX - byte(record, 26)) * RANK + rank
  list[m + 2] = id
  saved[n + 1] = id
  saved[n + 2] = FREE .. sub(record, 9, 34)
end

local function put_back(id, record, rank, load)
  local key = key_of(record)
  local list = now_backlogged[key]
  if not list then
    list = {}
    now_backlogged[key] = list
  end
  load[BACKLOG] = load[BACKLOG] + 1
  append(list, place_of(priority_of(record), since_of(record)), id)
  append(saved, id, rank > 0 and with_rank(record, FREE, rank) or FREE .. sub(record, 9, 34))
end

-- The job waits: delayed, in `waiting` where its owner has room there, or in the backlog. Jobs of other priorities are not
-- counted for the room: low ones never stand in the way.
local function wait(id, record, rank, delay, load, level)
  if delay > 0 then
    level[DELAYED] = level[DELAYED] + 1
    append(now_delayed, now() + delay, id)
    append(saved, id, with_rank(record, FREE, rank > 0 and rank or next_rank(record, level)))
  elseif running_max == 0 or load[RUNNING] + level[PLACED] < running_max then
    place(id, record, rank, level)
  else
    put_back(id, record, rank, load)
  end
end

local function free(record)
  local key = key_of(record)
  freed[key] = (freed[key] or 0) + 1
end

local function backlog_of(key)
  return backlogs .. string.format(HEX, byte(key, 1, KEY))
end

-- Takes jobs that are not leased out of wherever they stand. Answers their ranks.
local function leave(ids, records)
  if #ids == 0 then
    return {}
  end
  local found = {}
  for lane, key in pairs(waiting) do
    local of_lane, numbers = {}, {}
    for i, id in ipairs(ids) do
      if lane_of(records[i]) == lane then
        append(of_lane, id, nil)
        numbers[#numbers + 1] = i
      end
    end
    for i, place in ipairs(read_many('ZMSCORE', key, of_lane)) do
      found[numbers[i]] = place
    end
    call_many('ZREM', key, of_lane)
  end
  local answer = {}
  for i, id in ipairs(ids) do
    local record = records[i]
    local level = levels[sub(record, 9, 26)]
    if found[i] then
      level[PLACED] = level[PLACED] - 1
      answer[i] = found[i] % RANK
    elseif call('ZREM', delayed, id) == 1 then
      level[DELAYED] = level[DELAYED] - 1
    elseif call('ZREM', backlog_of(key_of(record)), id) == 1 then
      local load = loads[key_of(record)]
      load[BACKLOG] = load[BACKLOG] - 1
    end
    answer[i] = answer[i] or rank_of(record)
  end
  return answer
end

-- The end of leases, whatever follows.
local function forget_leases(ids)
  call_many('ZREM', leases, ids)
  if #ids > 0 and call('EXISTS', stops) == 1 then
    call_many('SREM', stops, ids)
  end
end

-- === Writes ===

local function flush_backlogs()
  for key, list in pairs(now_backlogged) do
    call_many('ZADD', backlog_of(key), list)
  end
  now_backlogged = {}
end

-- Jobs go where they were moved to.
local function flush()
  call_many('HDEL', jobs, gone)
  call_many('HSET', jobs, saved)
  for lane, list in pairs(now_waiting) do
    if #list > 0 then
      if slept[lane] == nil then
        slept[lane] = call('ZCARD', waiting[lane]) == 0
      end
      call_many('ZADD', waiting[lane], list)
      now_waiting[lane] = {}
    end
  end
  flush_backlogs()
  if #now_delayed > 0 then
    local before = call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]
    call_many('ZADD', delayed, now_delayed)
    local after = call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]
    slept.delayed = not before or tonumber(after) < tonumber(before)
  end
  gone, saved, now_delayed = {}, {}, {}
end

-- Backlogs move up where places became free; one more is looked at, so that a cap that was raised is used.
local function refill()
  local moved, n = {}, 0
  for key, count in pairs(freed) do
    local load = loads[key]
    if load[BACKLOG] > 0 then
      flush()
      local first = call('ZPOPMIN', backlog_of(key), min(count + 1, CHUNK))
      load[BACKLOG] = load[BACKLOG] - #first / 2
      for i = 1, #first, 2 do
        n = n + 1
        moved[n] = first[i]
      end
    end
  end
  freed = {}
  if n > 0 then
    local records, of, level = read_jobs(moved)
    for i, record in ipairs(records) do
      if record then
        wait(moved[i], record, rank_of(record), 0, of[i], level[i])
      end
    end
  end
end

-- What owners have; what is nothing is not kept.
local function write_owners()
  local written, nothing, n, m = {}, {}, 0, 0
  for key, load in pairs(loads) do
    if load[RUNNING] + load[BACKLOG] > 0 then
      written[n + 1], written[n + 2] = key, pack(LOAD, load[1], load[2])
      n = n + 2
    else
      m = m + 1
      nothing[m] = key
    end
  end
  for key, level in pairs(levels) do
    if level[PLACED] + level[DELAYED] > 0 then
      written[n + 1], written[n + 2] = key, pack(LEVEL, level[1], level[2], level[3])
      n = n + 2
    else
      m = m + 1
      nothing[m] = key
    end
  end
  if n > SEARCHED_MAX then
    append(written, '', LONG)
  end
  call_many('HSET', owners, written)
  call_many('HDEL', owners, nothing)
end

-- Tells the waiting processes, but only of what they do not know: something where there was nothing to claim, or a
-- due time that has come nearer. Otherwise they are awake, or sleep until the time that they know. Jobs that came may
-- have been claimed again where this call `claims`.
local function announce(claims)
  local new = slept.delayed
  if not next(slept) then
    return
  end
  for lane, key in pairs(waiting) do
    new = new or (slept[lane] and (not claims or call('ZCARD', key) > 0))
  end
  if new then
    call('PUBLISH', wake, '')
  end
end

-- The end of a call that moved jobs.
local function settle()
  refill()
  flush()
  write_owners()
  announce()
end
