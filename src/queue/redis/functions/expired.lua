-- ARGV: most jobs. Answers jobs whose lease has run out, the longest ago first.
register('expired', function()
  return call('ZRANGEBYSCORE', leases, '-inf', now(), 'LIMIT', 0, ARGV[ARGS + 1])
end)
