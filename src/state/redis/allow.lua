-- One request of a rate limit (GCRA), by the server's time.
-- KEYS: the instant in µs at which the allowance is whole again. ARGV: what one request costs, what may be run up before
-- a request is refused, both in µs. Answers 1 or 0, requests that would be let through now, µs until the next one is,
-- µs until the allowance is whole.
local cost, tolerance = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local whole = tonumber(redis.call('GET', KEYS[1]) or now)
if not whole then
  return redis.error_reply('ERR the key holds no rate limit')
end
whole = math.max(whole, now)
local owed = whole - now
if owed > tolerance then
  return {0, 0, owed - tolerance, owed}
end
owed = owed + cost
redis.call('SET', KEYS[1], string.format('%.0f', now + owed), 'PX', math.ceil(owed / 1000))
local more = 0
if owed <= tolerance then
  more = math.floor((tolerance - owed) / cost) + 1
end
return {1, more, 0, owed}
