"""How many commands a client sends for one message, with each way to lock it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any, NamedTuple

from benchmarks.once.monitor import Monitor, Seen
from reliq import Reliq, Task
from reliq.plugins import open_engine
from reliq.testing import Harness, VirtualClock
from reliq_idempotency import Idempotency
from reliq_once import AlreadyQueued, QueueOnce

LOCKS: dict[str, dict[str, Any]] = {
    "until=done": {},
    "until=start": {"until": "start"},
    "until=expiry": {"until": "expiry"},
    "on_conflict=drop": {"on_conflict": "drop"},
    "on_conflict=join": {"on_conflict": "join"},
    "on_conflict=replace": {"on_conflict": "replace"},
    "on_conflict=rerun": {"on_conflict": "rerun"},
    "debounce=(5, 60)": {"debounce": (5, 60)},
    "while_running=1": {"while_running": 1},
    "hold_on_failure": {"hold_on_failure": True},
}
NO_LOCK, IDEMPOTENT, BOTH = "no lock", "idempotency", "until=done, idempotency"


class Asked(NamedTuple):
    """What was asked for one message: by its publish, by a second publish of the same, by its run and settlement."""

    publish: Seen
    duplicate: Seen
    settle: Seen


def count_commands(url: str, host: str, port: int) -> Iterator[tuple[str, Asked]]:
    """For each way, on the server at `url`, which nobody else may use meanwhile."""
    for number, name in enumerate((NO_LOCK, *LOCKS, IDEMPOTENT, BOTH)):
        clock = VirtualClock()
        app = Reliq(f"commands{number}", broker=url, middleware=[Idempotency()] if IDEMPOTENT in name else [])
        own: dict[str, Any] = {"idempotency": True} if IDEMPOTENT in name else {}
        if name not in (NO_LOCK, IDEMPOTENT):
            own |= {"base": QueueOnce, "once": LOCKS.get(name, {})}
        task = app.task(name="work", **own)(_work)
        with (
            closing(open_engine(url, app=app.name, clock=clock)) as engine,
            Harness(app, clock=clock, engine=engine) as harness,
            Monitor(host, port) as monitor,
        ):
            _one(task, 0, harness, clock, monitor)  # scripts are loaded, connections opened
            yield name, _one(task, 1, harness, clock, monitor)


def _work(number: int) -> None:
    """Nothing."""


def _one(task: Task[..., Any], number: int, harness: Harness, clock: VirtualClock, monitor: Monitor) -> Asked:
    monitor.seen()
    task.delay(number)
    publish = monitor.seen()
    with suppress(AlreadyQueued):
        task.delay(number)
    duplicate = monitor.seen()
    settle: Seen | None = None
    clock.advance(5)  # for what was put off
    while deliveries := harness.claim().deliveries:
        monitor.seen()
        for delivery in deliveries:
            harness.settle(delivery)
            settle = settle or monitor.seen()
    assert settle is not None
    return Asked(publish, duplicate, settle)
