"""reliq as it comes, results off; `ONCE_VARIANT` says what its tasks take: "plain" nothing, "once" a lock, "both" also
the record of an idempotency key."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.once.apps import tasks
from benchmarks.race.apps import work
from reliq import Reliq
from reliq_idempotency import Idempotency
from reliq_once import AlreadyQueued, QueueOnce

VARIANT = os.environ.get("ONCE_VARIANT", "once")

app = Reliq(
    "once",
    broker=os.environ.get("BENCH_BROKER", work.URL),
    ignore_result=True,
    middleware=[Idempotency()] if VARIANT == "both" else [],
)
_own: dict[str, Any] = {
    "plain": {},
    "once": {"base": QueueOnce},
    "both": {"base": QueueOnce, "idempotency": True},
}[VARIANT]
TASKS: dict[str, Any] = {name: app.task(name=name, **_own)(f) for name, f in tasks.TASKS.items()}


def warm() -> None:
    app.broker.audit()  # opens the connection


def send(name: str, *args: Any) -> bool:
    """Whether it was accepted."""
    try:
        TASKS[name].delay(*args)
    except AlreadyQueued:
        return False
    return True


def send_many(name: str, calls: Iterable[Sequence[Any]]) -> None:
    """In one step; every one must be accepted."""
    refused = [h for h in app.publish_many(TASKS[name], list(calls)) if isinstance(h, Exception)]
    if refused:
        raise refused[0]


def locks() -> int:
    """Locks and slots that stand, whoever holds them."""
    from reliq_once.locks import locks as all_locks

    return sum(1 for _ in all_locks(app.broker))


def left() -> dict[str, int]:
    """How many messages are in each state."""
    return dict(app.broker.audit().states)


def close() -> None:
    app.close()
