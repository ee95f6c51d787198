-- Answers how many jobs wait, are delayed, are leased. A delayed job that is due waits, promoted or not.
register('depth', function()
  local later = call('ZCOUNT', delayed, '(' .. string.format('%.0f', now()), '+inf')
  local active = call('ZCARD', leases)
  return { call('HLEN', jobs) - later - active, later, active }
end)
