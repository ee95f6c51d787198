-- Writes a value where the key holds just the expected bytes.
-- KEYS: the key. ARGV: expected bytes, new bytes, lifetime in ms. Answers 1 when written, else 0.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
