-- ARGV: job, the job as it is offered, delay in ms, and so on. Answers a text with a letter for each: 1 it waits, 0 it is
-- leased.
register('offer', function()
  local ids, answer, offers, n = {}, {}, {}, 0
  for i = ARGS + 1, #ARGV, 3 do
    n = n + 1
    ids[n] = ARGV[i]
    offers[n] = FREE .. ARGV[i + 1]
  end
  local known = read_many('HMGET', jobs, ids)

  -- A job that is named twice keeps its first place in the order and gets the last due time and priority; its wait began
  -- with the first.
  local last, order = {}, {}
  for i = 1, n do
    local id, record = ids[i], known[i]
    if record and is_held(record) then
      answer[i] = '0'
    else
      answer[i] = '1'
      local before = last[id] and offers[last[id]] or record
      if before then
        offers[i] = sub(offers[i], 1, 26) .. sub(before, 27, 34)
      end
      if not last[id] then
        order[#order + 1] = i
      end
      last[id] = i
    end
  end
  local of, level = owners_of(offers)
  owners_of(known)

  local standing, records, places = {}, {}, {}
  for _, i in ipairs(order) do
    if known[i] then
      append(standing, ids[i], nil)
      records[#standing], places[#standing] = known[i], i
    end
  end
  local old_ranks = {}
  for i, rank in ipairs(leave(standing, records)) do
    old_ranks[places[i]] = rank
    free(records[i])
  end
  for _, i in ipairs(order) do
    local id, at, rank = ids[i], last[ids[i]], 0
    local offer = offers[at]
    if known[i] and sub(known[i], 9, 26) == sub(offer, 9, 26) then
      rank = old_ranks[i]
    end
    wait(id, offer, rank, tonumber(ARGV[ARGS + 3 * at]), of[at], level[at])
  end
  settle()
  return table.concat(answer)
end)
