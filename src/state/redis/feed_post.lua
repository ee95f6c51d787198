-- Numbers a publication, keeps it, and tells the subscribers of the channel.
-- KEYS: hash of the numbering (epoch, top, and e:EVENT with the offset of each event that is kept), stream of what is kept.
-- ARGV: channel, payload, event ('' for none), most to keep, lifetime in ms, an epoch for a new numbering, lifetime of the
-- numbering in ms. Answers offset, epoch, and 1 when it is new, else 0.
local numbering, stream = KEYS[1], KEYS[2]
local channel, payload, event = ARGV[1], ARGV[2], ARGV[3]
local most, lifetime = tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local found = redis.call('HMGET', numbering, 'epoch', 'top', 'e:' .. event)
local epoch, top, known = found[1], found[2] or '0', found[3]
local length = redis.call('XLEN', stream)
if not epoch then
  -- What is left of an older numbering would stand in the way of the new one.
  redis.call('DEL', stream)
  epoch, length = ARGV[6], 0
elseif length == 0 then
  -- All that was kept has ended, and with it the events that it came from.
  redis.call('DEL', numbering)
  known = false
end

-- Forgets what has ended, and as many of the oldest as leave room for one more.
local room = known and most or most - 1
while length > 0 do
  local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  local ends, of = tonumber(oldest[2][2]), oldest[2][4]
  if length <= room and ends > now then
    break
  end
  redis.call('XDEL', stream, oldest[1])
  if of ~= '' then
    redis.call('HDEL', numbering, 'e:' .. of)
    if of == event then
      known, room = false, most - 1
    end
  end
  length = length - 1
end
if known then
  redis.call('PEXPIRE', numbering, ARGV[7])
  return { known, epoch, 0 }
end

local offset = string.format('%.0f', top + 1)
local fields = { 'epoch', epoch, 'top', offset }
if event ~= '' then
  fields[5], fields[6] = 'e:' .. event, offset
end
redis.call('HSET', numbering, unpack(fields))
redis.call('PEXPIRE', numbering, ARGV[7])
redis.call('XADD', stream, offset, 'ends', now + lifetime, 'event', event, 'payload', payload)
if length == 0 or redis.call('PTTL', stream) < lifetime then
  redis.call('PEXPIRE', stream, lifetime)
end
redis.call('PUBLISH', channel, offset .. ':' .. epoch .. ':' .. payload)
return { offset, epoch, 1 }
