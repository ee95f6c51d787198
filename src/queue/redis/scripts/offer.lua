-- ARGV: job, offer, and so on. Answers a text with a letter for each: 1 it waits, 0 it is leased.
local ids, answer = {}, {}
for i = ARGS + 1, #ARGV, 2 do
  ids[#ids + 1] = ARGV[i]
end
local known, held = read_jobs(ids), read_many('HMGET', fences, ids)
local keys, offers, delays = {}, {}, {}
for i = 1, #ids do
  offers[i], delays[i] = offered(ARGV[ARGS + 2 * i])
  keys[i] = offers[i].key
end
load_owners(keys)

-- A job that is named twice keeps its first place in the order and gets the last due time and priority.
local last, old, order = {}, {}, {}
for i, id in ipairs(ids) do
  answer[i] = held[i] and '0' or '1'
  if not held[i] then
    if not last[id] then
      order[#order + 1] = id
      old[id] = known[i]
    end
    local before = last[id] and offers[last[id]] or known[i]
    if before then
      offers[i].since = before.since
    end
    last[id] = i
  end
end

local standing, records = {}, {}
for _, id in ipairs(order) do
  if old[id] then
    standing[#standing + 1] = id
    records[#records + 1] = old[id]
  end
end
leave(standing, records)
for _, id in ipairs(order) do
  local job, before = offers[last[id]], old[id]
  if before and before.priority == job.priority and before.key == job.key then
    job.rank = before.rank
  end
  wait(id, job, delays[last[id]])
end
settle()
return table.concat(answer)
