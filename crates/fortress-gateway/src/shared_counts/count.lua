-- Counts something in a window of time that begins with the first of it, by this server's clock.
--
-- KEYS[1]  the count
-- ARGV     how many more (0 only looks; negative takes back), and milliseconds that the window lasts
-- Gives    the count as it is then, and milliseconds until its window ends
local more, length = tonumber(ARGV[1]), tonumber(ARGV[2])
local count = tonumber(redis.call('GET', KEYS[1]) or '0')
local rest = redis.call('PTTL', KEYS[1])
if more ~= 0 then
  count = math.max(0, count + more)
  -- A count that begins, or that lost its end.
  if rest < 0 then rest = length end
  redis.call('SET', KEYS[1], string.format('%.0f', count), 'PX', math.max(1, rest))
end
return {count, math.max(0, rest)}
