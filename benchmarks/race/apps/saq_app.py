"""saq: a hundred tasks at once; a task that began is run again only after its worker was found dead."""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from saq import Queue

from benchmarks.race.apps import work

BULK = "asyncio.gather of a batch"

queue = Queue.from_url(work.URL, max_concurrent_ops=100)
_ttl = 600 if work.RESULTS else -1


def _asynchronous(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    async def call(ctx: object, *, args: Sequence[Any]) -> Any:
        return function(*args)

    call.__qualname__ = call.__name__ = name
    return call


settings = {
    "queue": queue,
    "functions": [(name, _asynchronous(name, function)) for name, function in work.TASKS.items()],
    "concurrency": 100,
}


async def warm() -> None:
    await queue.connect()


async def send(
    name: str, args: Sequence[Any], *, delay: float | None = None, queue: str | None = None
) -> None:
    await _enqueue(name, args)


async def send_many(name: str, calls: Sequence[tuple[Any, ...]]) -> None:
    await asyncio.gather(*(_enqueue(name, args) for args in calls))


async def close() -> None:
    await queue.disconnect()


async def _enqueue(name: str, args: Sequence[Any]) -> None:
    await queue.enqueue(name, args=list(args), ttl=_ttl)
