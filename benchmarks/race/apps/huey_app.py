"""huey on Redis: eight threads; a message is deleted when it is taken, so a task runs at most once."""

# mypy: disable-error-code="import-untyped"

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from huey import RedisHuey

from benchmarks.race.apps import work

BULK = "none: one by one"

huey = RedisHuey("race", url=work.URL, results=work.RESULTS)
TASKS = {name: huey.task(name=name)(function) for name, function in work.TASKS.items()}


def send(name: str, args: Sequence[Any], *, delay: float | None = None, queue: str | None = None) -> None:
    if delay is None:
        TASKS[name](*args)
    else:
        TASKS[name].schedule(args=tuple(args), delay=delay)


def send_many(name: str, calls: Sequence[tuple[Any, ...]]) -> None:
    task = TASKS[name]
    for args in calls:
        task(*args)
