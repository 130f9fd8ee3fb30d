-- One round trip for one limit of one key: grants up to `want` units, at least `least`, or none.
-- The clock is this server's own: instances whose clocks differ share one limit all the same.
-- All numbers are whole and below 2^53: times are microseconds.
--
-- KEYS[1]  the count of the key, as a string (rate) or a hash (quota)
-- ARGV     r, least, want, microseconds that a unit takes to be earned back (in thousandths), burst
--          q, least, want, limit, 1 if the window before fades, five edges of windows in microseconds
-- Gives    granted, remaining, microseconds to wait (-1 never), microseconds until all is back, now
--          or -1, 0, 0, 0, now if none of the windows is now's
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local least, want = tonumber(ARGV[2]), tonumber(ARGV[3])

if ARGV[1] == 'r' then
  local interval, burst = tonumber(ARGV[4]), tonumber(ARGV[5])
  local function cost(units) return math.ceil(units * interval / 1000) end
  local tolerance = cost(burst)
  local tat = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
  -- A clock that was set back must not lock a key out for longer than its burst takes.
  tat = math.min(tat, now + tolerance)
  local left = now + tolerance - tat
  local there = math.min(burst, math.floor(left * 1000 / interval))
  if want < 0 then
    tat = math.max(now, tat - math.floor(-want * interval / 1000))
    redis.call('SET', KEYS[1], string.format('%.0f', tat), 'PX', math.ceil((tat - now) / 1000) + 1)
    return {0, math.min(burst, math.floor((now + tolerance - tat) * 1000 / interval)), 0, tat - now, now}
  end
  local granted = math.min(want, there)
  if granted < least then
    local wait = -1
    if least <= burst then wait = math.max(1, cost(least) - left) end
    return {0, there, wait, tat - now, now}
  end
  if granted > 0 then
    tat = tat + cost(granted)
    redis.call('SET', KEYS[1], string.format('%.0f', tat), 'PX', math.ceil((tat - now) / 1000) + 1)
  end
  return {granted, there - granted, 0, tat - now, now}
end

local limit, fades = tonumber(ARGV[4]), ARGV[5] == '1'
local before, start, finish
for at = 2, 4 do
  local from, to = tonumber(ARGV[5 + at]), tonumber(ARGV[6 + at])
  if from <= now and now < to then
    before, start, finish = tonumber(ARGV[4 + at]), from, to
  end
end
if not start then return {-1, 0, 0, 0, now} end

local held = redis.call('HMGET', KEYS[1], 'w', 'c', 'p')
local window, count, past = tonumber(held[1] or '-1'), tonumber(held[2] or '0'), tonumber(held[3] or '0')
if window > start and window <= finish then
  -- The clock was set back over an edge: what was counted still counts. A window further ahead is that of
  -- a clock that was wrong: its count stays, and locks nobody out until then.
  start = window
elseif window > start then
  past = 0
elseif window < start then
  past = 0
  if window == before then past = count end
  count = 0
end
local length = finish - start
local remaining_time = math.max(0, finish - now)
local faded = 0
if fades and length > 0 then faded = math.ceil(past * math.min(remaining_time, length) / length) end
local there = math.max(0, limit - count - faded)

local function store()
  redis.call('HSET', KEYS[1], 'w', string.format('%.0f', start), 'c', string.format('%.0f', count), 'p', string.format('%.0f', past))
  -- A window longer, because it may fade; and a margin for clocks.
  redis.call('PEXPIRE', KEYS[1], math.ceil((remaining_time + math.max(length, 0)) / 1000) + 60000)
end

if want < 0 then
  -- What comes back from a window that is over is no longer counted.
  if window == start then
    count = math.max(0, count + want)
    store()
    there = math.max(0, limit - count - faded)
  end
  return {0, there, 0, remaining_time, now}
end
local granted = math.min(want, there)
if granted < least then
  local wait = remaining_time
  if least > limit then wait = -1 end
  return {0, there, wait, remaining_time, now}
end
if granted > 0 then
  count = count + granted
  store()
end
return {granted, there - granted, 0, remaining_time, now}
