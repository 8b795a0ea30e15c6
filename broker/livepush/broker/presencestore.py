"""How presence lies in Redis, and the scripts that are the only ones to touch it.

    {livepush}:nodes            sorted set: each daemon process, by the moment (ms of Redis's clock) when it is gone
    {livepush}:about            hash: what each process tells of itself, JSON
    {livepush}:held:<process>   set: its places, "<channel> <user>"
    {livepush}:on:<channel>     hash: each user there, and how many processes hold him
    {livepush}:revision         counts the changes of all rolls; of a new store it begins at the moment, ms, so that it
                                never goes back, not even when the store is lost
    {livepush}:changed          sorted set: each channel, by the revision of its last change
    {livepush}:young            is there as long as a new store may not know all processes yet
    {livepush}:floor            the highest revision that was dropped from `changed`

The prefix is a setting; the braces keep all keys in one slot of a Redis Cluster. A user is his primary key as JSON text
(`member_of`), a channel's name has no blank, and the channel "" is being connected at all.

A script runs alone: who is the first to take a place and who the last to give it up is decided in one step, together
with the new revision. Every script may be run twice: the set of a process says what it holds already. The clock is
Redis's, so that no two machines have to agree. Each script answers one JSON text, because a reply of many parts costs a
reader one turn for each; nothing that a user wrote reaches a script but as an argument.

Bounds: `PLACES` in one script, `CHANGED` channels in `changed`, who has missed more asks for all of his; all else is as
much as is connected. An eviction policy that takes keys away breaks the counts: `noeviction`, which is Redis's default.

Needs Redis 5 or later (scripts that write after they have read the time).
"""

from __future__ import annotations

import json

PLACES = 500
"""So many places in one script: a millisecond or two, in which Redis serves nobody else."""

CHANNELS = 100
"""So many rolls in one script."""

CHANGED = 10_000

UNKNOWN = "unknown"
"""The answer to a process that is not enrolled, or not any more; nothing was done."""

YOUNG = "young"
YOUNG_MS = 2500
"""So long after a store was made, or made anew because all was lost, nobody says who is not there: every process finds
out within its next two looks that it is not known, and only then does a roll that lacks somebody mean anything."""

MAX_SAFE_INTEGER = 2**53 - 1
"""The largest integer that JavaScript holds exactly; a larger primary key goes to browsers as a text."""

_COMMON = f"""
local base = KEYS[1]
local nodes, about, revision = base .. ':nodes', base .. ':about', base .. ':revision'
local changed, floor = base .. ':changed', base .. ':floor'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function text(number) return string.format('%.0f', number) end

local function note(channel)
    redis.call('ZADD', changed, text(redis.call('INCR', revision)), channel)
    if redis.call('ZCARD', changed) > {CHANGED} then
        redis.call('SET', floor, redis.call('ZPOPMIN', changed)[2])
    end
end

local function split(place)
    local at = string.find(place, ' ', 1, true)
    return string.sub(place, 1, at - 1), string.sub(place, at + 1)
end

local function arrive(place)
    local channel, user = split(place)
    if redis.call('HINCRBY', base .. ':on:' .. channel, user, 1) == 1 then note(channel) end
end

local function depart(place)
    local channel, user = split(place)
    local on = base .. ':on:' .. channel
    if redis.call('HINCRBY', on, user, -1) <= 0 then
        redis.call('HDEL', on, user)
        note(channel)
    end
end

local function is_here(node)
    local till = redis.call('ZSCORE', nodes, node)
    return till and tonumber(till) > now
end

local function reap()
    local gone = redis.call('ZRANGEBYSCORE', nodes, '-inf', text(now), 'LIMIT', 0, 1)[1]
    if not gone then return 0 end
    local places = redis.call('SPOP', base .. ':held:' .. gone, {PLACES})
    for _, place in ipairs(places) do depart(place) end
    if #places < {PLACES} then
        redis.call('ZREM', nodes, gone)
        redis.call('HDEL', about, gone)
    end
    return 1
end
"""

ENROLL = f"""{_COMMON}
if redis.call('SET', revision, text(now), 'NX') then
    redis.call('SET', base .. ':young', '1', 'PX', {YOUNG_MS})
end
redis.call('ZADD', nodes, text(now + ARGV[2]), ARGV[1])
return cjson.encode(redis.call('SMEMBERS', base .. ':held:' .. ARGV[1]))
"""
"""Arguments: process, time to live in ms. Answers what it holds."""

MOVE = f"""{_COMMON}
if not is_here(ARGV[1]) then return cjson.encode('{UNKNOWN}') end
local held, taken = base .. ':held:' .. ARGV[1], tonumber(ARGV[2])
for i = 3, #ARGV do
    if i - 2 <= taken then
        if redis.call('SADD', held, ARGV[i]) == 1 then arrive(ARGV[i]) end
    elseif redis.call('SREM', held, ARGV[i]) == 1 then
        depart(ARGV[i])
    end
end
return '[]'
"""
"""Arguments: process, how many of the places are taken, those, then those that are given up."""

PULSE = f"""{_COMMON}
if not is_here(ARGV[1]) then return cjson.encode('{UNKNOWN}') end
redis.call('ZADD', nodes, text(now + ARGV[2]), ARGV[1])
redis.call('HSET', about, ARGV[1], ARGV[4])
reap()
local at, since = tonumber(redis.call('GET', revision) or 0), tonumber(ARGV[3])
if since == 0 or since > at or since < tonumber(redis.call('GET', floor) or 0) then
    return cjson.encode({{at, cjson.null, redis.call('EXISTS', base .. ':young')}})
end
return cjson.encode({{at, redis.call('ZRANGEBYSCORE', changed, '(' .. ARGV[3], '+inf'), 0}})
"""
"""Arguments: process, time to live in ms, the revision that it knows, what it tells of itself. Answers the revision,
the channels that have changed since, or null, and whether the store is young."""

ROLLS = f"""{_COMMON}
local answer, most = {{}}, tonumber(ARGV[1])
for i = 2, #ARGV do
    local on = base .. ':on:' .. ARGV[i]
    local count, users = redis.call('HLEN', on), cjson.null
    if count <= most then users = redis.call('HKEYS', on) end
    local at = redis.call('ZSCORE', changed, ARGV[i]) or redis.call('GET', floor) or 0
    answer[i - 1] = {{tonumber(at), count, users}}
end
return cjson.encode(answer)
"""
"""Arguments: how many users a roll may have to be told, then channels. Answers revision, count and users of each."""

REAP = f"""{_COMMON}
if redis.call('EXISTS', revision) == 0 then return cjson.encode('{UNKNOWN}') end
if redis.call('EXISTS', base .. ':young') == 1 then return cjson.encode('{YOUNG}') end
return text(reap())
"""
"""Forgets a part of one process that is gone. Answers whether there was one, or that the store is empty, or young."""

ONLINE = f"""{_COMMON}
local answer = {{}}
for i, count in ipairs(redis.call('HMGET', base .. ':on:', unpack(ARGV))) do answer[i] = count and true or false end
return cjson.encode(answer)
"""
"""Arguments: at most `PLACES` users. Answers which of them are connected."""

STATS = f"""{_COMMON}
local channels = {{}}
for _, channel in ipairs(redis.call('ZRANGE', changed, 0, -1)) do
    local count = redis.call('HLEN', base .. ':on:' .. channel)
    if channel ~= '' and count > 0 then channels[#channels + 1] = {{channel, count}} end
end
local here = {{}}
for _, node in ipairs(redis.call('ZRANGEBYSCORE', nodes, '(' .. text(now), '+inf')) do
    here[#here + 1] = {{node, redis.call('HGET', about, node) or '{{}}'}}
end
return cjson.encode({{redis.call('HLEN', base .. ':on:'), channels, here}})
"""
"""Answers how many users are connected, how many are on each channel, and the processes with what they tell."""


def base_of(prefix: str) -> str:
    """The first part of every key."""
    return f"{{{prefix}}}"


def member_of(pk: object) -> str:
    """A user as presence has him: his primary key as JSON text, as browsers are shown it."""
    exact = isinstance(pk, int) and not isinstance(pk, bool) and abs(pk) <= MAX_SAFE_INTEGER
    return json.dumps(pk if exact else str(pk), ensure_ascii=False)


def place_of(channel: str, member: str) -> str:
    """A user on a channel."""
    return f"{channel} {member}"
