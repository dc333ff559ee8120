"""What Redis decides, one atomic script each, with the constants of `bedrock_async.resilience`.

Each model has four keys: ``recent`` (lease -> time of its admission, for the last 60 seconds), ``tokens`` (lease -> the
tokens it counts for), ``flight`` (lease -> time at which its place is freed unless it is renewed), and ``state`` (the
sum of the tokens, the share of the limits in force). Times are the server's, in seconds, unless the caller passes its
own.
"""

from __future__ import annotations

from typing import Final

__all__ = ["ADMIT", "FINISH", "RENEW"]

_COMMON: Final = """
local recent, tokens, flight, state = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local now = tonumber(ARGV[1])
if not now then
    local time = redis.call('TIME')
    now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end
local minute, back_off, least_share, recovery = 60, 0.7, 0.1, 0.1 / 60

local function number(name, default)
    return tonumber(redis.call('HGET', state, name)) or default
end

local function add(amount)
    if amount ~= 0 then
        redis.call('HINCRBY', state, 'sum', amount)
    end
end

local function forget_old()
    local old = redis.call('ZRANGEBYSCORE', recent, '-inf', now - minute)
    for _, lease in ipairs(old) do
        add(-(tonumber(redis.call('HGET', tokens, lease)) or 0))
        redis.call('HDEL', tokens, lease)
    end
    redis.call('ZREMRANGEBYSCORE', recent, '-inf', now - minute)
end

local function share()
    return math.min(1, number('share', 1) + (now - number('share_at', now)) * recovery)
end

local function keep()
    for _, key in ipairs(KEYS) do
        redis.call('EXPIRE', key, 3600)
    end
end
"""

# ARGV: now or '', lease, tokens, requests_per_minute, tokens_per_minute, max_in_flight (or ''), lease_s, poll_s.
ADMIT: Final = (
    _COMMON
    + """
local lease, wanted = ARGV[2], tonumber(ARGV[3])
local requests_per_minute, tokens_per_minute = tonumber(ARGV[4]), tonumber(ARGV[5])
local max_in_flight, lease_s, poll_s = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]
forget_old()
redis.call('ZREMRANGEBYSCORE', flight, '-inf', now)
local part = share()
if max_in_flight and redis.call('ZCARD', flight) >= math.max(1, math.floor(max_in_flight * part)) then
    return poll_s
end
local wait = 0
if requests_per_minute then
    local over = redis.call('ZCARD', recent) + 1 - math.max(1, math.floor(requests_per_minute * part))
    if over > 0 then
        wait = tonumber(redis.call('ZRANGE', recent, over - 1, over - 1, 'WITHSCORES')[2]) + minute - now
    end
end
if tokens_per_minute then
    local most = math.max(1, math.floor(tokens_per_minute * part))
    wanted = math.min(wanted, most)
    local over = number('sum', 0) + wanted - most
    if over > 0 then
        local entries = redis.call('ZRANGE', recent, 0, -1, 'WITHSCORES')
        for index = 1, #entries, 2 do
            over = over - (tonumber(redis.call('HGET', tokens, entries[index])) or 0)
            if over <= 0 then
                wait = math.max(wait, tonumber(entries[index + 1]) + minute - now)
                break
            end
        end
    end
end
if wait > 0 then
    return string.format('%.6f', math.max(wait, 0.000001))
end
redis.call('ZADD', recent, string.format('%.6f', now), lease)
redis.call('HSET', tokens, lease, wanted)
redis.call('ZADD', flight, string.format('%.6f', now + lease_s), lease)
add(wanted)
keep()
return '0'
"""
)

# ARGV: now or '', lease, tokens ('' leaves the reservation, 'none' undoes the request), '1' when it was throttled.
FINISH: Final = (
    _COMMON
    + """
local lease, used, throttled = ARGV[2], ARGV[3], ARGV[4] == '1'
redis.call('ZREM', flight, lease)
local admitted = tonumber(redis.call('ZSCORE', recent, lease))
forget_old()
if admitted and redis.call('ZSCORE', recent, lease) then
    if used == 'none' then
        add(-(tonumber(redis.call('HGET', tokens, lease)) or 0))
        redis.call('ZREM', recent, lease)
        redis.call('HDEL', tokens, lease)
    elseif used ~= '' then
        add(tonumber(used) - (tonumber(redis.call('HGET', tokens, lease)) or 0))
        redis.call('HSET', tokens, lease, used)
    end
end
if throttled and admitted and admitted > number('backed_off_at', -1) then
    local at = string.format('%.6f', now)
    redis.call('HSET', state, 'share', tostring(math.max(least_share, share() * back_off)), 'share_at', at)
    redis.call('HSET', state, 'backed_off_at', at)
    keep()
end
return 0
"""
)

# ARGV: now or '', lease_s, leases...
RENEW: Final = (
    _COMMON
    + """
local till = string.format('%.6f', now + tonumber(ARGV[2]))
for index = 3, #ARGV do
    redis.call('ZADD', flight, 'XX', till, ARGV[index])
end
keep()
return 0
"""
)
