"""celery + celery-once; `ONCE_CELERY=default` leaves all as it comes, "late" acknowledges late, as in the race."""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from celery import Celery
from celery_once import AlreadyQueued, QueueOnce
from redis import Redis

from benchmarks.once.apps import tasks
from benchmarks.race.apps import work

app = Celery("once", broker=work.URL)
app.conf.ONCE = {
    "backend": "celery_once.backends.Redis",
    "settings": {"url": work.URL, "default_timeout": 3600},
}
app.conf.task_ignore_result = True
app.conf.worker_send_task_events = False
app.conf.broker_connection_retry_on_startup = True
if os.environ.get("ONCE_CELERY") != "default":
    app.conf.task_acks_late = True
    app.conf.task_reject_on_worker_lost = True
if prefetch := os.environ.get("ONCE_PREFETCH"):
    app.conf.worker_prefetch_multiplier = int(prefetch)
if timeout := os.environ.get("ONCE_VISIBILITY"):
    app.conf.broker_transport_options = {
        "visibility_timeout": float(timeout),
        "unacked_restore_interval": 10,
        "unacked_restore_throttle": 1,
    }

TASKS: dict[str, Any] = {
    name: app.task(name=name, base=QueueOnce)(function) for name, function in tasks.TASKS.items()
}


def send(name: str, *args: Any) -> bool:
    """Whether it was accepted."""
    try:
        TASKS[name].delay(*args)
    except AlreadyQueued:
        return False
    return True


def send_many(name: str, calls: Iterable[Sequence[Any]]) -> None:
    """It has no way to publish many; every one must be accepted."""
    with app.producer_pool.acquire(block=True) as producer:
        for args in calls:
            TASKS[name].apply_async(args, producer=producer)


def locks() -> int:
    """Locks that stand."""
    with Redis(host=work.HOST, port=work.PORT) as redis:
        return sum(1 for _ in redis.scan_iter("qo_*", count=1000))


def left() -> dict[str, int]:
    """How many messages wait, and how many are delivered but not acknowledged."""
    with Redis(host=work.HOST, port=work.PORT) as redis:
        return {"ready": redis.llen("celery"), "leased": redis.hlen("unacked")}
