"""dramatiq: acknowledged late, as it comes, but for the prefetch (dramatiq_queue_prefetch in the environment)."""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.race.apps import work

BULK = "none: one by one"

_recovering: dict[str, Any] = (
    {
        "heartbeat_timeout": round(float(os.environ["RACE_VISIBILITY"]) * 1000),
        "maintenance_chance": 100_000,  # of a million calls
    }
    if "RACE_VISIBILITY" in os.environ
    else {}
)
broker = RedisBroker(url=work.URL, **_recovering)
if work.RESULTS:
    from dramatiq.results import Results
    from dramatiq.results.backends import RedisBackend

    broker.add_middleware(Results(backend=RedisBackend(url=work.URL), store_results=True))
dramatiq.set_broker(broker)

TASKS = {name: dramatiq.actor(actor_name=name)(function) for name, function in work.TASKS.items()}
broker.declare_queue(work.BUSY)


def send(name: str, args: Sequence[Any], *, delay: float | None = None, queue: str | None = None) -> None:
    actor = TASKS[name]
    if queue is not None:
        broker.enqueue(actor.message(*args).copy(queue_name=queue))
    elif delay is None:
        actor.send(*args)
    else:
        actor.send_with_options(args=tuple(args), delay=round(delay * 1000))


def send_many(name: str, calls: Sequence[tuple[Any, ...]], *, queue: str | None = None) -> None:
    for args in calls:
        send(name, args, queue=queue)
