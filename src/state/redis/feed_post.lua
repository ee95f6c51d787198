-- Numbers publications, keeps them, and tells the subscribers of their channels.
-- KEYS: of each channel the hash of its numbering (epoch, top, and e:EVENT with the offset of each event that is kept), and
-- the stream of what is kept.
-- ARGV: an epoch for new numberings, lifetime of a numbering in ms; then of each channel its name, most to keep, lifetime of
-- what is kept in ms, the number of its publications, and of each the payload and the event ('' for none).
-- Answers offset, epoch, and 1 when it is new, else 0, of each publication.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answer = {}

-- Publishes on one channel, which ARGV has from `first` on; answers where the next one begins.
local function publish(numbering, stream, first)
  local channel, most, lifetime = ARGV[first], tonumber(ARGV[first + 1]), tonumber(ARGV[first + 2])
  local count, payloads = tonumber(ARGV[first + 3]), first + 4
  local next_channel = payloads + 2 * count

  local asked = { 'epoch', 'top' }
  for at = payloads, next_channel - 1, 2 do
    asked[#asked + 1] = 'e:' .. ARGV[at + 1]
  end
  local found = redis.call('HMGET', numbering, unpack(asked))
  local epoch, top, known = found[1], found[2] or '0', {}
  local length = redis.call('XLEN', stream)
  if not epoch then
    -- What is left of an older numbering would stand in the way of the new one.
    redis.call('DEL', stream)
    epoch, length = ARGV[1], 0
  elseif length == 0 then
    -- All that was kept has ended, and with it the events that it came from.
    redis.call('DEL', numbering)
  else
    for i = 3, #asked do
      known[asked[i]] = found[i]
    end
  end

  local was_empty, added = length == 0, {}
  -- The oldest that are kept, read ahead; of them so many have been dropped, which is written by `forget`.
  local oldest, dropped, gone, events = {}, 0, {}, {}
  local function forget()
    if #gone > 0 then
      redis.call('XDEL', stream, unpack(gone))
    end
    if #events > 0 then
      redis.call('HDEL', numbering, unpack(events))
    end
    gone, events = {}, {}
  end
  -- Drops what has ended, and as many of the oldest as leave room for `event`.
  local function make_room(event)
    while length > 0 do
      if dropped == #oldest then
        forget()
        oldest, dropped = redis.call('XRANGE', stream, '-', '+', 'COUNT', count + 1), 0
      end
      local id, fields = unpack(oldest[dropped + 1])
      local ends, of = tonumber(fields[2]), 'e:' .. fields[4]
      if ends > now and length <= (known[event] and most or most - 1) then
        return
      end
      dropped, length = dropped + 1, length - 1
      gone[#gone + 1] = id
      if of ~= 'e:' then
        events[#events + 1] = of
        known[of] = nil
      end
    end
  end

  for at = payloads, next_channel - 1, 2 do
    local payload, event = ARGV[at], 'e:' .. ARGV[at + 1]
    make_room(event)
    local offset, is_new = known[event], 0
    if not offset then
      offset, is_new = string.format('%.0f', top + 1), 1
      redis.call('XADD', stream, offset, 'ends', now + lifetime, 'event', ARGV[at + 1], 'payload', payload)
      redis.call('PUBLISH', channel, offset .. ':' .. epoch .. ':' .. payload)
      top, length, added[#added + 1] = offset, length + 1, event
      if event ~= 'e:' then
        known[event] = offset
      end
    end
    local n = #answer
    answer[n + 1], answer[n + 2], answer[n + 3] = offset, epoch, is_new
  end

  forget()
  if #added > 0 then
    local fields = { 'epoch', epoch, 'top', top }
    for _, event in ipairs(added) do
      if known[event] then
        fields[#fields + 1] = event
        fields[#fields + 1] = known[event]
      end
    end
    redis.call('HSET', numbering, unpack(fields))
    if was_empty then
      redis.call('PEXPIRE', stream, lifetime)
    else
      redis.call('PEXPIRE', stream, lifetime, 'GT')
    end
  end
  redis.call('PEXPIRE', numbering, ARGV[2])
  return next_channel
end

local first = 3
for i = 1, #KEYS, 2 do
  first = publish(KEYS[i], KEYS[i + 1], first)
end
return answer
