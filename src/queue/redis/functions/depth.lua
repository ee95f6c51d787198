-- Answers how many jobs wait, are delayed, are leased. A delayed job that is due waits, promoted or not.
register('depth', function()
  local later = redis.call('ZCOUNT', delayed, '(' .. string.format('%.0f', now()), '+inf')
  local active = redis.call('ZCARD', leases)
  return { redis.call('HLEN', jobs) - later - active, later, active }
end)
