-- What a channel remembers after an offset.
-- KEYS: hash of the numbering, stream of what is kept. ARGV: the offset, an epoch for a new numbering, lifetime of the
-- numbering in ms. Answers top, epoch, then offset, payload, offset, payload …
local numbering, stream = KEYS[1], KEYS[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local epoch = redis.call('HGET', numbering, 'epoch')
if not epoch then
  redis.call('DEL', stream)
  epoch = ARGV[2]
  redis.call('HSET', numbering, 'epoch', epoch)
end
redis.call('PEXPIRE', numbering, ARGV[3])
local answer = { redis.call('HGET', numbering, 'top') or '0', epoch }
for _, entry in ipairs(redis.call('XRANGE', stream, '(' .. ARGV[1], '+')) do
  if tonumber(entry[2][2]) > now then
    -- An id is the offset and a zero behind a dash.
    answer[#answer + 1] = string.match(entry[1], '^%d+')
    answer[#answer + 1] = entry[2][6]
  end
end
return answer
