-- What every script of the queue begins with: the names of the keys, the clock, and calls with many arguments.
--
-- waiting  zset job → place: whoever is lowest is claimed first
-- delayed  zset job → due time in ms
-- leases   zset job → end of the lease in ms
-- places   hash job → place, for every job that the queue knows; kept through retry, delay and recovery
-- owners   hash job → owner of the lease
-- stops    set of the leased jobs that somebody wants to stop
-- sequence counter of first offers
--
-- A place is one number: (PRIORITY_MAX - priority) * RANK + sequence, exact in a double while sequence < 2^48.
local waiting, delayed, leases, places, owners, stops, sequence =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
-- The channel on which processes without work listen, and the only arguments that all scripts share.
local wake, PRIORITY_MIN, PRIORITY_MAX = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local ARGS = 3
local RANK = 281474976710656
-- Lua's stack holds about 8,000 values; even, since some lists are of pairs.
local CHUNK = 1000

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function place_of(priority, number)
  local clamped = math.max(PRIORITY_MIN, math.min(PRIORITY_MAX, priority))
  return (PRIORITY_MAX - clamped) * RANK + number
end

-- The same call for a list of any length; nothing for an empty one.
local function call_many(command, key, list)
  for first = 1, #list, CHUNK do
    redis.call(command, key, unpack(list, first, math.min(first + CHUNK - 1, #list)))
  end
end

-- One value per entry of a list of any length (HMGET, ZMSCORE, SMISMEMBER).
local function read_many(command, key, list)
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

-- Tells the waiting processes, but only when there was nothing to claim before: otherwise they are awake.
local function add_waiting(pairs_of_place_and_job)
  if #pairs_of_place_and_job == 0 then
    return
  end
  local slept = redis.call('ZCARD', waiting) == 0
  call_many('ZADD', waiting, pairs_of_place_and_job)
  if slept then
    redis.call('PUBLISH', wake, '')
  end
end

-- Tells the waiting processes when the earliest due time has come nearer: they sleep until the one they know.
local function add_delayed(pairs_of_due_and_job)
  if #pairs_of_due_and_job == 0 then
    return
  end
  local before = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]
  call_many('ZADD', delayed, pairs_of_due_and_job)
  local after = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]
  if not before or tonumber(after) < tonumber(before) then
    redis.call('PUBLISH', wake, '')
  end
end

-- The end of leases, whatever follows.
local function forget_leases(jobs)
  call_many('ZREM', leases, jobs)
  call_many('HDEL', owners, jobs)
  call_many('SREM', stops, jobs)
end
