-- The members of a set whose end has not passed.
-- KEYS: zset of the members' ends in ms, hash of their values. Answers member, value, member, value …
local CHUNK = 1000
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local members = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%.0f', now), '+inf')
local answer = {}
for first = 1, #members, CHUNK do
  local last = math.min(first + CHUNK - 1, #members)
  local values = redis.call('HMGET', KEYS[2], unpack(members, first, last))
  for i, value in ipairs(values) do
    answer[#answer + 1] = members[first + i - 1]
    answer[#answer + 1] = value or ''
  end
end
return answer
