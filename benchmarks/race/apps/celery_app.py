"""celery: acknowledged late, no results, no gossip; `RACE_CELERY=default` leaves everything as it comes."""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from celery import Celery

from benchmarks.race.apps import work

BULK = "apply_async with one producer held"

app = Celery("race", broker=work.URL, backend=work.URL if work.RESULTS else None)
app.conf.task_ignore_result = not work.RESULTS
app.conf.worker_send_task_events = False
app.conf.broker_connection_retry_on_startup = True
if os.environ.get("RACE_CELERY") != "default":
    app.conf.task_acks_late = True
    app.conf.task_reject_on_worker_lost = True
    app.conf.worker_prefetch_multiplier = int(os.environ.get("RACE_CELERY_PREFETCH", "64"))
if timeout := os.environ.get("RACE_VISIBILITY"):
    app.conf.broker_transport_options = {
        "visibility_timeout": float(timeout),
        "unacked_restore_interval": 10,
        "unacked_restore_throttle": 1,
    }

TASKS = {name: app.task(name=name)(function) for name, function in work.TASKS.items()}


def send(name: str, args: Sequence[Any], *, delay: float | None = None, queue: str | None = None) -> None:
    if delay is None and queue is None:
        TASKS[name].delay(*args)
    else:
        TASKS[name].apply_async(args, countdown=delay, queue=queue)


def send_many(name: str, calls: Sequence[tuple[Any, ...]], *, queue: str | None = None) -> None:
    task = TASKS[name]
    with app.producer_pool.acquire(block=True) as producer:
        for args in calls:
            task.apply_async(args, producer=producer, queue=queue)
