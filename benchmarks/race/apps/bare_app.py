"""The bare loop: the least that an at-least-once queue on Redis has to do, and nothing else.

Payloads in a list; a claim moves up to a hundred of them into one hash per owner, and keeps that owner in a sorted set
by the end of its lease; what is settled is deleted from the hash.  Whatever an owner still held when its lease ended
goes back to the list.  The settlements of a batch travel with the next claim, which is on the wire while the batch
before it runs.  No ids, states, records, results, fences or guards: a limit to compare with, not a queue to use.

    python -m benchmarks.race.apps.bare_app          the worker
    python -m benchmarks.race.apps.bare_app wait     one that sleeps in BLPOP, for the idle latency
    python -m benchmarks.race.apps.bare_app burn     one that asks nobody for its tasks, for the processor time
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import msgspec
from redis import Redis

from benchmarks.bare_loop import PAYLOAD
from benchmarks.race.apps import work

BULK = "one variadic RPUSH per batch"

_QUEUE, _OWNERS, _SAMPLES = "bare:queue", "bare:owners", "bare:samples"
_BATCH, _LEASE_MS = 100, 30_000

# KEYS queue, held, owners; ARGV owner, lease in ms, limit, number of the first claimed, settled numbers ...
_CLAIM = """
local time = redis.call('TIME')
redis.call('ZADD', KEYS[3], time[1] * 1000 + ARGV[2], ARGV[1])
if #ARGV > 4 then redis.call('HDEL', KEYS[2], unpack(ARGV, 5)) end
local found = redis.call('LPOP', KEYS[1], ARGV[3])
if not found then return {} end
local held = {}
for i, payload in ipairs(found) do held[2 * i - 1] = ARGV[4] + i - 1; held[2 * i] = payload end
redis.call('HSET', KEYS[2], unpack(held))
return found
"""
# KEYS queue, owners: what the dead held goes back to the front.
_RECOVER = """
local time = redis.call('TIME')
for _, owner in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], 0, time[1] * 1000)) do
  local held = 'bare:held:' .. owner
  for _, payload in ipairs(redis.call('HVALS', held)) do redis.call('LPUSH', KEYS[1], payload) end
  redis.call('DEL', held)
  redis.call('ZREM', KEYS[2], owner)
end
"""

_redis = Redis(host=work.HOST, port=work.PORT)


def warm() -> None:
    _redis.ping()


def send(name: str, args: Sequence[Any], *, delay: float | None = None, queue: str | None = None) -> None:
    if name == "stamp":
        _redis.rpush(_SAMPLES, str(args[0]))
    else:
        _redis.rpush(_QUEUE, PAYLOAD)


def send_many(name: str, calls: Sequence[tuple[Any, ...]]) -> None:
    _redis.rpush(_QUEUE, *[PAYLOAD] * len(calls))


def drain() -> None:
    """Work until told to stop by a signal."""
    _redis.eval(_RECOVER, 2, _QUEUE, _OWNERS)
    claim, owner = _redis.script_load(_CLAIM), str(os.getpid())
    connection: Any = _redis.connection_pool.get_connection()
    decode, task = msgspec.msgpack.decode, work.no_op

    def ask(first: int, settled: Sequence[int]) -> None:
        keys = (_QUEUE, f"bare:held:{owner}", _OWNERS)
        connection.send_command("EVALSHA", claim, 3, *keys, owner, _LEASE_MS, _BATCH, first, *settled)

    first, settled = 0, range(0)
    ask(first, settled)
    while True:
        batch = connection.read_response()
        following = first + len(batch)
        ask(following, settled)
        for payload in batch:
            decode(payload)
            task()
        first, settled = following, range(first, following)


def wait() -> None:
    """Stamp each sample as it comes."""
    while True:
        _, number = _redis.blpop([_SAMPLES])
        work.stamp(int(number))


def burn() -> None:
    while True:
        work.burn()


if __name__ == "__main__":
    {"wait": wait, "burn": burn}.get(" ".join(sys.argv[1:]), drain)()
