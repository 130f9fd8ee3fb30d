-- Notes that an instance lives, and tells how many do, by this server's clock.
--
-- KEYS[1]  the instances, sorted by when they were heard of last
-- ARGV     this instance: what it counts under, a space, and a name of its own; or an empty text
--          milliseconds after which one that was not heard of is gone
--          1 if this instance leaves
-- Gives    how many count under the same as this one, itself included, and how many under another
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local patience = tonumber(ARGV[2])
if ARGV[3] == '1' then
  redis.call('ZREM', KEYS[1], ARGV[1])
  return {0, 0}
end
-- First what needs memory: after any other write a script gets it also where limits get none, and a
-- server that has none for them is no server that is back.
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - patience)
redis.call('PEXPIRE', KEYS[1], 2 * patience)
local own = string.match(ARGV[1], '^(%S+) ')
local same, other = 0, 0
-- Of thousands of instances the first are enough: their part of a limit is next to nothing then.
for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, 9999)) do
  if string.match(member, '^(%S+) ') == own then same = same + 1 else other = other + 1 end
end
return {same, other}
