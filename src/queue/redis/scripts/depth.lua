-- Answers how many jobs wait, are delayed, are leased. A delayed job that is due waits, promoted or not.
local due = redis.call('ZCOUNT', delayed, '-inf', now)
return { redis.call('ZCARD', waiting) + due, redis.call('ZCARD', delayed) - due, redis.call('ZCARD', leases) }
