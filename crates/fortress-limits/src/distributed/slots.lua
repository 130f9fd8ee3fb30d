-- Says how many requests of a key an instance has in flight, and asks for room for more.
-- What an instance says replaces what it said before: a call that got lost is made good by the next.
--
-- KEYS[1]  a hash: of each instance how many it has, the number of the call that said so, and until
--          when that holds, in milliseconds of this server's clock
-- ARGV     this instance, the number of its call, how many it has, how many more it wants, the limit,
--          milliseconds that what is said holds
-- Gives    granted, and left for all; or -1, 0 if a later call of this instance came before
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local instance, number = ARGV[1], tonumber(ARGV[2])
local held, want, limit, holds = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

local others = 0
local all = redis.call('HGETALL', KEYS[1])
for at = 1, #all, 2 do
  local name = all[at]
  local count, said, ends = string.match(all[at + 1], '^(%d+) (%d+) (%d+)$')
  ends = tonumber(ends or '0')
  if ends <= now then
    redis.call('HDEL', KEYS[1], name)
  elseif name == instance then
    if tonumber(said) > number then return {-1, 0} end
  else
    others = others + tonumber(count)
    if ends > now + holds then
      -- The clock was set back: the dead must not keep what they had for longer than else.
      redis.call('HSET', KEYS[1], name, string.format('%s %s %.0f', count, said, now + holds))
    end
  end
end

local granted = math.max(0, math.min(want, limit - others - held))
local own = held + granted
if own > 0 then
  redis.call('HSET', KEYS[1], instance, string.format('%.0f %.0f %.0f', own, number, now + holds))
  redis.call('PEXPIRE', KEYS[1], holds)
else
  redis.call('HDEL', KEYS[1], instance)
end
return {granted, math.max(0, limit - others - own)}
