-- Writes entries into the log of logins, and reads on in it. All instances read the same entries in the
-- same order, each with the time when it was written by this server's clock.
--
-- KEYS[1]  the log, a stream
-- ARGV     the id that was read last; $ for the last that is there
--          how many entries are given at most
--          how many are kept, about
--          milliseconds after which a log is gone that nobody writes
--          and the entries to be written
-- Gives    this server's clock in milliseconds, the id up to which was read now, 1 if there is more to read,
--          and of each entry when it was written, in milliseconds, and the entry
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function parts(id)
  local clock, number = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(clock), tonumber(number)
end
local function is_before(one, other)
  local clock, number = parts(one)
  local other_clock, other_number = parts(other)
  return clock < other_clock or (clock == other_clock and number < other_number)
end
-- Ranges that leave out their start are not known before Redis 6.2.
local function after(id)
  local clock, number = parts(id)
  return string.format('%.0f-%.0f', clock, number + 1)
end

local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
newest = newest and newest[1] or '0-0'
-- A day ahead: a clock that was wrong, or somebody else, has written it. Ids could come to their end there, and
-- beyond 2^53 they are no numbers here. What the log held, those who run know.
if parts(newest) > now + 86400000 then
  redis.call('DEL', KEYS[1])
  -- Beyond what anybody has read of this millisecond.
  newest = redis.call('XADD', KEYS[1], string.format('%.0f-1000000', now), 'anew', '')
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
local position = ARGV[1]
-- A log that is younger than what was read of it is another one: the server lost it, or another server
-- took its place. What it holds was read already, or is lost.
if position == '$' or is_before(newest, position) then position = newest end

local first
for at = 5, #ARGV do
  -- Ids never go back, not even where a clock that was ahead is set right: they are no time.
  local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', 't', string.format('%.0f', now), 'e', ARGV[at])
  first = first or id
end
if first then redis.call('PEXPIRE', KEYS[1], ARGV[4]) end

local entries = redis.call('XRANGE', KEYS[1], after(position), '+', 'COUNT', ARGV[2])
local given = {now, position, #entries == tonumber(ARGV[2]) and 1 or 0}
for _, entry in ipairs(entries) do
  given[2] = entry[1]
  local fields = entry[2]
  -- What somebody else has written is left out.
  if fields[1] == 't' and fields[3] == 'e' and tonumber(fields[2]) then
    table.insert(given, math.min(now, tonumber(fields[2])))
    table.insert(given, fields[4])
  end
end
return given
