"""taskiq on a Redis stream: async tasks (its fast ones), acknowledged when executed."""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from benchmarks.race.apps import work

BULK = "asyncio.gather of a batch"

broker: Any = RedisStreamBroker(
    url=work.URL,
    consumer_id="0",  # messages that came before the worker did are to be seen
    idle_timeout=round(float(os.environ.get("RACE_VISIBILITY", "600")) * 1000),
    unacknowledged_lock_timeout=10.0,
)
if work.RESULTS:
    broker = broker.with_result_backend(RedisAsyncResultBackend(redis_url=work.URL, result_ex_time=600))


def _asynchronous(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    async def call(*args: Any) -> Any:
        return function(*args)

    return call


TASKS = {
    name: broker.task(task_name=name)(function if name == "journal" else _asynchronous(function))
    for name, function in work.TASKS.items()
}


async def warm() -> None:
    await broker.startup()


async def send(
    name: str, args: Sequence[Any], *, delay: float | None = None, queue: str | None = None
) -> None:
    await TASKS[name].kiq(*args)


async def send_many(name: str, calls: Sequence[tuple[Any, ...]]) -> None:
    task = TASKS[name]
    await asyncio.gather(*(task.kiq(*args) for args in calls))


async def close() -> None:
    await broker.shutdown()
