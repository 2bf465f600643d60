"""Numbers to which all processes of an app add: a record in its broker for each day and each thing that is counted."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet

from reliq.errors import BrokerError
from reliq.ports.store import records
from reliq.wire.message import Incr

if TYPE_CHECKING:
    from reliq.app import Reliq
    from reliq.context import RunContext
    from reliq.ports.store import Store

__all__ = ["Tally"]

DAYS = 8  # so that seven whole ones can be seen
EVERY = 5_000  # ms between two writes of one process
_LIFE = DAYS * 86_400_000
logger = logging.getLogger("reliq.counting")

_tallies: WeakSet[Tally] = WeakSet()


class Tally:
    """What a plug-in counts: at once in this process (`here`), and within seconds for the whole app.

    name    of the plug-in; part of the keys
    counts  the things that are counted, in the order in which they are shown

    Nothing waits for a count and nothing fails by one.  So a process that is killed takes along what it counted in its
    last 5 s, and a write whose answer is lost is not made again.
    """

    def __init__(self, name: str, counts: Sequence[str]) -> None:
        self.name = name
        self.counts = tuple(counts)
        self.here: Counter[str] = Counter()
        self._begin()
        _tallies.add(self)

    def add(self, app: Reliq, *counts: str) -> None:
        """Count one of each; written now, or with later ones when this process wrote less than 5 s ago."""
        now = app.clock.now_ms()
        with self._lock:
            self.here.update(counts)
            self._waiting.setdefault(app, Counter()).update(counts)
            due = not 0 <= now - self._wrote.get(app, 0) < EVERY  # below 0: the clock was set back
            if due:
                self._wrote[app] = now
        if due:
            self.write(app)

    def settle(self, ctx: RunContext, count: str) -> None:
        """Count one in the step that settles a run: exactly once, and not if the settlement is refused."""
        with self._lock:
            self.here[count] += 1
        ctx.with_settlement(self._incr(ctx.app, count, 1))

    def write(self, app: Reliq) -> None:
        """Write what was counted and not written yet."""
        with self._lock:
            counted = self._waiting.pop(app, None)
        if not counted:
            return
        try:
            broker = app.broker
            if broker.capabilities.engine:
                broker.apply((), [self._incr(app, count, by) for count, by in counted.items()])
        except BrokerError as error:
            logger.info("what %s counted is not written: %s", self.name, error)
            if getattr(error, "certain", False):
                with self._lock:
                    self._waiting.setdefault(app, Counter()).update(counted)

    def read(self, store: Store) -> dict[str, Mapping[str, int]]:
        """What the whole app counted, by day (UTC, as in 2026-05-01), the latest first."""
        prefix = f"count:{self.name}:"
        days: dict[str, Counter[str]] = {}
        for key, value in records(store, prefix):
            day, _, count = key.removeprefix(prefix).partition(":")
            if value.data.isdigit():
                days.setdefault(day, Counter())[count] = int(value.data)
        return {day: days[day] for day in sorted(days, reverse=True)}

    def _incr(self, app: Reliq, count: str, by: int) -> Incr:
        day = datetime.fromtimestamp(app.clock.now_ms() / 1000, UTC).date().isoformat()
        return Incr(f"count:{self.name}:{day}:{count}", by, ttl=_LIFE)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._waiting: WeakKeyDictionary[Reliq, Counter[str]] = WeakKeyDictionary()
        self._wrote: WeakKeyDictionary[Reliq, int] = WeakKeyDictionary()  # ms


def write_all(app: Reliq) -> None:
    """Write what all plug-ins counted for this app, before its connection is closed."""
    for tally in list(_tallies):
        tally.write(app)


def _after_fork() -> None:
    # What waits is the parent's to write; a lock that another thread held would stay locked.
    for tally in list(_tallies):
        tally._begin()


def _at_exit() -> None:
    for tally in list(_tallies):
        for app in list(tally._waiting):
            if app.is_connected:
                tally.write(app)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
