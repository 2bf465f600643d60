"""reliq as it comes: late settlement, the default lease, every rule on; only results are off unless asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from time import sleep
from typing import Any

from benchmarks.race.apps import work
from benchmarks.race.apps.notes import open_journal
from reliq import Observer, Outcome, Reliq, RunContext, current

BULK = "publish_many of a batch"


class Notes(Observer):
    """Notes what became of each settlement, for the check of a fault run; in no other run."""

    def settled(self, ctx: RunContext | None, ending: Outcome) -> None:
        open_journal().note("settled", ending.id, answer=ending.answer, state=ending.state)


def journal(key: str, seconds: float) -> int:
    """As that of the others, and under which fence it ran."""
    notes, run = open_journal(), current()
    notes.note("started", run.id, fence=run.fence, attempt=run.attempt)
    sleep(seconds)
    notes.note("ended", run.id)
    return 1


app = Reliq(
    "race",
    broker=os.environ.get("BENCH_BROKER", work.URL),
    ignore_result=not work.RESULTS,
    middleware=[Notes()] if "BENCH_JOURNAL" in os.environ else [],
)
TASKS: dict[str, Any] = {
    name: app.task(name=name)(function) for name, function in work.TASKS.items() if name != "journal"
}
TASKS["journal"] = app.task(name="journal", max_crashes=20)(journal)  # killed often, it is not to be blamed


def warm() -> None:
    app.broker.audit()  # opens the connection


def send(name: str, args: Sequence[Any], *, delay: float | None = None, queue: str | None = None) -> None:
    task = TASKS[name]
    if name == "journal":
        task.apply_async(args, task_id=args[0])
    elif delay is None and queue is None:
        task.delay(*args)
    else:
        task.apply_async(args, countdown=delay, queue=queue)


def send_many(name: str, calls: Sequence[tuple[Any, ...]], *, queue: str | None = None) -> None:
    options = {} if queue is None else {"queue": queue}
    _all_accepted(app.publish_many(TASKS[name], calls, **options))


def send_many_ahead(name: str, calls: Sequence[tuple[Any, ...]], *, delay: float) -> None:
    _all_accepted(app.publish_many(TASKS[name], calls, countdown=delay))


def left() -> dict[str, int]:
    """How many messages are in each state."""
    return dict(app.broker.audit().states)


def close() -> None:
    app.close()


def _all_accepted(handles: Sequence[object]) -> None:
    refused = [handle for handle in handles if isinstance(handle, Exception)]
    if refused:
        raise refused[0]
