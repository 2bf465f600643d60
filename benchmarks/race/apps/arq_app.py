"""arq: polls every 10 ms, a hundred tasks at once, no results kept; a task counts as done when it has ended."""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from arq import create_pool, func
from arq.connections import RedisSettings

from benchmarks.race.apps import work

BULK = "asyncio.gather of a batch"

_settings = RedisSettings(host=work.HOST, port=work.PORT)
_pool: Any = None


def _asynchronous(function: Callable[..., Any]) -> Callable[..., Any]:
    async def call(ctx: object, *args: Any) -> Any:
        return function(*args)

    return call


class Worker:
    """What `arq benchmarks.race.apps.arq_app.Worker` reads."""

    functions: ClassVar[list[Any]] = [
        func(_asynchronous(function), name=name) for name, function in work.TASKS.items()
    ]
    redis_settings = _settings
    poll_delay = 0.01
    max_jobs = 100
    keep_result = 600 if work.RESULTS else 0
    log_results = False


async def warm() -> None:
    global _pool
    _pool = await create_pool(_settings)


async def send(
    name: str, args: Sequence[Any], *, delay: float | None = None, queue: str | None = None
) -> None:
    await _pool.enqueue_job(name, *args, _defer_by=delay)


async def send_many(name: str, calls: Sequence[tuple[Any, ...]]) -> None:
    await asyncio.gather(*(_pool.enqueue_job(name, *args) for args in calls))


async def close() -> None:
    await _pool.aclose()
