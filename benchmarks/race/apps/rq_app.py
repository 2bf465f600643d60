"""rq: its simple worker, which does not fork for each job; no results kept."""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from redis import Redis
from rq import Queue, Retry

from benchmarks.race.apps import work

BULK = "enqueue_many of a batch"

_queue = Queue("default", connection=Redis(host=work.HOST, port=work.PORT))
_ttl = 600 if work.RESULTS else 0
# What a fault run adds: a job whose worker died is found by its time-out, and only a retry runs it again.
_recovering: dict[str, Any] = (
    {"timeout": round(float(os.environ["RACE_VISIBILITY"])), "retry": Retry(max=20)}
    if "RACE_VISIBILITY" in os.environ
    else {}
)


def send(name: str, args: Sequence[Any], *, delay: float | None = None, queue: str | None = None) -> None:
    function = work.TASKS[name]
    if delay is None:
        _queue.enqueue_call(function, tuple(args), result_ttl=_ttl, **_recovering)
    else:
        _queue.enqueue_in(timedelta(seconds=delay), function, *args, result_ttl=_ttl)


def send_many(name: str, calls: Sequence[tuple[Any, ...]]) -> None:
    function = work.TASKS[name]
    _queue.enqueue_many([Queue.prepare_data(function, tuple(args), result_ttl=_ttl) for args in calls])
