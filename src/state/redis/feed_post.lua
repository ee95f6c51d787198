-- Numbers a publication, keeps it, and tells the subscribers of the channel.
-- KEYS: hash of the numbering (epoch, top, and e:EVENT with the offset of each event that is kept), stream of what is kept.
-- ARGV: channel, payload, event ('' for none), most to keep, lifetime in ms, an epoch for a new numbering, lifetime of the
-- numbering in ms. Answers offset, epoch, and 1 when it is new, else 0.
local numbering, stream = KEYS[1], KEYS[2]
local channel, payload, event = ARGV[1], ARGV[2], ARGV[3]
local most, lifetime = tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Forgets what has ended, and as many of the oldest as leave at most `room`.
local function forget(room)
  local length = redis.call('XLEN', stream)
  while length > 0 do
    local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
    local ends, known = tonumber(oldest[2][2]), oldest[2][4]
    if length <= room and ends > now then
      return
    end
    redis.call('XDEL', stream, oldest[1])
    if known ~= '' then
      redis.call('HDEL', numbering, 'e:' .. known)
    end
    length = length - 1
  end
end

local epoch = redis.call('HGET', numbering, 'epoch')
if not epoch then
  -- What is left of an older numbering would stand in the way of the new one.
  redis.call('DEL', stream)
  epoch = ARGV[6]
  redis.call('HSET', numbering, 'epoch', epoch)
elseif redis.call('EXISTS', stream) == 0 then
  -- All that was kept has ended, and with it the events that it came from.
  local top = redis.call('HGET', numbering, 'top') or '0'
  redis.call('DEL', numbering)
  redis.call('HSET', numbering, 'epoch', epoch, 'top', top)
end
redis.call('PEXPIRE', numbering, ARGV[7])
forget(math.huge)
if event ~= '' then
  local known = redis.call('HGET', numbering, 'e:' .. event)
  if known then
    return { known, epoch, 0 }
  end
end
forget(most - 1)
local offset = string.format('%.0f', redis.call('HINCRBY', numbering, 'top', 1))
redis.call('XADD', stream, offset, 'ends', now + lifetime, 'event', event, 'payload', payload)
if event ~= '' then
  redis.call('HSET', numbering, 'e:' .. event, offset)
end
if redis.call('PTTL', stream) < lifetime then
  redis.call('PEXPIRE', stream, lifetime)
end
redis.call('PUBLISH', channel, offset .. ':' .. epoch .. ':' .. payload)
return { offset, epoch, 1 }
