-- === Ends of leases ===

-- Answers a letter for each.
local function release()
  local ended, answer = {}, {}
  for i = ARGS + 8, #ARGV, 4 do
    ended[#ended + 1] = ARGV[i]
  end
  if #ended > 0 then
    local records = read_many('HMGET', jobs, ended)
    local of = owners_of(records, true)
    -- Jobs that this very call has moved: false when they left.
    local moved, released = {}, {}
    for i = 1, #ended do
      local id, first = ended[i], ARGS + 4 + 4 * i
      local fence, again = ARGV[first + 1], ARGV[first + 2]
      local record, was_moved = records[i], moved[id]
      answer[i] = '0'
      if was_moved == nil and record and sub(record, 1, 8) == fence then
        of[i][RUNNING] = of[i][RUNNING] - 1
        answer[i] = '1'
        released[#released + 1] = id
        if again == '' then
          moved[id] = false
          gone[#gone + 1] = id
          free(record)
        else
          local delay, _, level = tonumber(ARGV[first + 3]), owners_of({ record })
          moved[id] = true
          if delay == 0 then
            place(id, record, rank_of(record), level[1])
          else
            wait(id, record, rank_of(record), delay, of[i], level[1])
            free(record)
          end
        end
      elseif again ~= '' and (was_moved == false or (was_moved == nil and not record)) then
        local offer = FREE .. again
        local new_of, new_level = owners_of({ offer })
        wait(id, offer, 0, tonumber(ARGV[first + 3]), new_of[1], new_level[1])
        moved[id] = true
        answer[i] = '1'
      end
    end
    forget_leases(released)
    refill()
  end
  return table.concat(answer)
end

-- === Claim ===

-- What this call is to claim, and has claimed: the ids, the number of all claims before, and the fence of this one; and
-- what is left in each lane.
local limit, lease, lanes, aged_after, aged_share, promoted_max, rounds_max
local claimed, starts, fence, left

-- When the first of the delayed jobs is due, in ms; none where there is none.
local function earliest()
  return tonumber(call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2])
end

-- Jobs that have become due wait from now on, at their places.
local function promote()
  local due = call('ZRANGEBYSCORE', delayed, '-inf', now(), 'LIMIT', 0, promoted_max)
  call_many('ZREM', delayed, due)
  local records, of, level = read_jobs(due)
  for i, record in ipairs(records) do
    if record then
      level[i][DELAYED] = level[i][DELAYED] - 1
      wait(due[i], record, rank_of(record), 0, of[i], level[i])
    end
  end
  flush()
end

-- Leases jobs that were taken out of `waiting` (ids and places), or puts them into their owners' backlogs where those run
-- as many as they may. The clock goes on with what is served in order, else new jobs would wait behind ranks that nobody
-- was served.
local function start(ids, places, in_order)
  local records, of, levels_of = read_jobs(ids)
  local ends, held, n, m = {}, {}, #claimed, 0
  -- As text: each lease would else write the number down for itself.
  local until_ms = string.format('%.0f', now() + lease)
  for i = 1, #ids do
    local id, record = ids[i], records[i]
    if record then
      local load, level = of[i], levels_of[i]
      local rank = places[i] % RANK
      level[PLACED] = level[PLACED] - 1
      if running_max > 0 and load[RUNNING] >= running_max then
        put_back(id, record, rank, load)
      else
        load[RUNNING] = load[RUNNING] + 1
        n = n + 1
        claimed[n] = id
        held[m + 1], ends[m + 1] = id, until_ms
        held[m + 2], ends[m + 2] = with_rank(record, fence, rank), id
        m = m + 2
        if in_order then
          serve(record, rank)
        end
      end
    end
  end
  call_many('HSET', jobs, held)
  call_many('ZADD', leases, ends)
  return m / 2
end

-- The share, of the jobs that can be claimed now, of what strict order would starve: the first jobs of a priority, each in
-- turn, that have waited for long; of several lanes another one first each time that all priorities have had their turn.
local function claim_aged(count_waiting)
  if aged_share == 0 then
    return
  end
  local turn = math.floor(starts / aged_share)
  local count = math.floor((starts + min(limit, count_waiting)) / aged_share) - turn
  local levels = PRIORITY_MAX - PRIORITY_MIN
  local from = place_of(PRIORITY_MIN + turn % levels, 0)
  for number = 0, #lanes - 1 do
    local lane = lanes[1 + (number + math.floor(turn / levels)) % #lanes]
    if count > #claimed then
      local first = call('ZRANGEBYSCORE', waiting[lane], from, '+inf', 'WITHSCORES', 'LIMIT', 0, count - #claimed)
      local all, ids, places = {}, {}, {}
      for i = 1, #first, 2 do
        all[#all + 1] = first[i]
      end
      local old = now() - aged_after
      for i, record in ipairs(read_many('HMGET', jobs, all)) do
        if record and since_of(record) <= old then
          append(ids, all[i], nil)
          places[#ids] = first[2 * i]
        end
      end
      left[lane] = left[lane] - #ids
      call_many('ZREM', waiting[lane], ids)
      start(ids, places, false)
    end
  end
end

-- Takes the first jobs over several lanes out of them: by priority, and within one from each lane in turn.
local function first_of(several, room)
  local found, ids, places, taken = {}, {}, {}, {}
  for _, entry in ipairs(several) do
    local turn = (entry.number - 1 + starts) % #lanes
    local first = call('ZRANGE', waiting[entry.lane], 0, room - 1, 'WITHSCORES')
    local level, index = -1, 0
    for i = 1, #first, 2 do
      local of = math.floor(first[i + 1] / RANK)
      index = of == level and index + 1 or 0
      level = of
      found[#found + 1] = { level, index, turn, first[i], first[i + 1], entry.lane }
    end
    taken[entry.lane] = {}
  end
  table.sort(found, function(a, b)
    for i = 1, 3 do
      if a[i] ~= b[i] then
        return a[i] < b[i]
      end
    end
    return false
  end)
  for i = 1, min(room, #found) do
    ids[i], places[i] = found[i][4], found[i][5]
    append(taken[found[i][6]], ids[i], nil)
  end
  for lane, list in pairs(taken) do
    left[lane] = left[lane] - #list
    call_many('ZREM', waiting[lane], list)
  end
  return ids, places
end

-- Takes the first jobs out of the lanes: ids and places.
local function first(room)
  local several, ids, places = {}, {}, {}
  if room == 0 then
    return ids, places
  end
  for number, lane in ipairs(lanes) do
    if left[lane] > 0 then
      several[#several + 1] = { number = number, lane = lane }
    end
  end
  if #several > 1 then
    return first_of(several, room)
  elseif #several == 1 then
    local lane = several[1].lane
    local popped = call('ZPOPMIN', waiting[lane], room)
    left[lane] = left[lane] - #popped / 2
    for i = 1, #popped / 2 do
      ids[i], places[i] = popped[2 * i - 1], popped[2 * i]
    end
  end
  return ids, places
end

-- How many wait in the lanes; sets what is left in each.
local function count_left()
  local sum = 0
  for _, lane in ipairs(lanes) do
    left[lane] = call('ZCARD', waiting[lane])
    sum = sum + left[lane]
  end
  return sum
end

-- The counters 'starts' and 'fence'; with them what the only lane has that is claimed from.
local function read_clocks()
  if #lanes > 1 then
    return call('HMGET', clocks, 'starts', 'fence')
  end
  local read = call('HMGET', clocks, 'starts', 'fence', lanes[1])
  clock_of(lanes[1], read[3])
  return read
end

local function claim(count_waiting)
  local read = read_clocks()
  starts = tonumber(read[1] or 0)
  -- Rises even where the counter was lost: no claim has the number of another.
  local number = max(tonumber(read[2] or 0) + 1, now_us())
  fence = pack(NUMBER, number)
  claim_aged(count_waiting)
  for _ = 1, rounds_max do
    local ids, places = first(limit - #claimed)
    if start(ids, places, true) == #ids then
      break
    end
  end
  if #claimed > 0 then
    write_clocks({ 'starts', starts + #claimed, 'fence', string.format('%.0f', number) })
  end
  flush()
end

-- ARGV: most jobs, lease in ms, the lanes (a byte each), time in ms after which a job is aged, share of the aged, most
-- jobs to promote, most rounds; then job, fence, the job as it is offered again or nothing (it is done), its delay in ms,
-- and so on.
-- Answers: a letter for each release (1 done, 0 not held), the fence of the claim, the time in ms until a job of these
-- lanes may be claimed (-1: nothing waits), the ids of the claimed jobs in one text, first come first.
register('exchange', function()
  limit, lease, lanes = tonumber(ARGV[ARGS + 1]), tonumber(ARGV[ARGS + 2]), { byte(ARGV[ARGS + 3], 1, -1) }
  aged_after, aged_share = tonumber(ARGV[ARGS + 4]), tonumber(ARGV[ARGS + 5])
  promoted_max, rounds_max = ARGV[ARGS + 6], tonumber(ARGV[ARGS + 7])
  claimed, starts, fence, left = {}, 0, '', {}
  local released = release()
  flush()
  local due = -1
  if limit > 0 then
    local next_due = earliest()
    if next_due and next_due <= now() then
      promote()
      next_due = earliest()
    end
    local count_waiting = count_left()
    if count_waiting > 0 then
      claim(count_waiting)
    end
    due = next_due and max(0, next_due - now()) or -1
    for _, lane in ipairs(lanes) do
      due = left[lane] > 0 and 0 or due
    end
  end
  write_owners()
  announce(true)
  return { released, fence, due, table.concat(claimed) }
end)
