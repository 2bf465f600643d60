"""streaq: sixteen tasks at once per process, results kept for no time at all."""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import wraps
from typing import Any

from streaq import Worker

from benchmarks.race.apps import work

BULK = "enqueue_many of a batch"

worker = Worker(redis_url=work.URL, concurrency=100)
_opened = AsyncExitStack()


def _asynchronous(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    async def call(*args: Any) -> Any:
        return function(*args)

    return call


TASKS = {
    name: worker.task(_asynchronous(function), name=name, silent=True, ttl=600 if work.RESULTS else 0)
    for name, function in work.TASKS.items()
}


async def warm() -> None:
    await _opened.enter_async_context(worker)


async def send(
    name: str, args: Sequence[Any], *, delay: float | None = None, queue: str | None = None
) -> None:
    await TASKS[name].enqueue(*args)


async def send_many(name: str, calls: Sequence[tuple[Any, ...]]) -> None:
    task = TASKS[name]
    await worker.enqueue_many([task.enqueue(*args) for args in calls])


async def close() -> None:
    await _opened.aclose()
