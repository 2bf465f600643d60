"""SIGKILL for workers while their tasks run, and how many locks stand when everything is over."""

from __future__ import annotations

import time
from dataclasses import replace

from benchmarks.once.produce import produce
from benchmarks.once.settings import Settings
from benchmarks.once.sides import VISIBILITY
from benchmarks.race.apps.notes import JOURNAL
from benchmarks.race.rig import Rig
from benchmarks.race.sides import Side
from reliq.testing.faults import Journal
from reliq.testing.faults.journal import Reader

_PATIENCE = 90.0  # seconds: longer than a lease, and than the visibility time-out
_POKE_AFTER = 5.0


def as_killed(side: Side) -> Side:
    """The side with what shortens its recovery, and so many tasks at once as are to be killed at once."""
    if not side.peer:
        return side
    short = {"ONCE_PREFETCH": "1", "ONCE_VISIBILITY": str(VISIBILITY)}
    return replace(side, environment={**side.environment, **short})


def kills(rig: Rig, side: Side, settings: Settings) -> None:
    """One after the other, workers with `together` running tasks are killed as a whole, until all victims were."""
    side = as_killed(side)
    with rig.measuring():
        journal = Journal(rig.folder / "journal")
        try:
            rig.environment[JOURNAL] = str(journal.path)
            accepted = produce(rig, side, "victims", settings.victims)["accepted"]
            watch = _Watch(Reader(journal.path))
            while (left := accepted - len(watch.killed)) > 0:
                if not _kill_one(rig, side, watch, min(settings.together, left)):
                    break  # those that never ran are counted among those that are never done
            seconds = _recover(rig, side, watch, settings)
            rig.add("killed while they ran", side, "tasks", len(watch.killed))
            rig.add("locks left", side, "", produce(rig, side, "locks")["locks"])
            rig.add("never done", side, "tasks", accepted - len(watch.ended))
            rig.add("seconds to recover", side, "s", seconds)
        finally:
            journal.close()


def _kill_one(rig: Rig, side: Side, watch: _Watch, together: int) -> int:
    """Start a worker, wait until so many victims run in it, and kill it with all its children; how many there were.

    Of a peer that lost some with an earlier worker there may be fewer, or none: as many as ran when nothing had begun
    for a while.
    """
    with rig.working(side, threads=max(2, together)) as (worker,):
        begun, running = time.monotonic(), 0
        while len(watch.running()) < together:
            if len(watch.running()) > running:
                begun, running = time.monotonic(), len(watch.running())
            late = time.monotonic() > begun + _PATIENCE
            if not worker.running or (late and not side.peer):
                why = "it died" if not worker.running else f"in {_PATIENCE:.0f} s"
                raise RuntimeError(
                    f"{side.name}: {running} of {together} victims ran, {why}:\n{worker.tail()}"
                )
            if late:
                break
            time.sleep(0.02)
        worker.kill()
    running = len(watch.running())
    watch.bury()
    return running


def _recover(rig: Rig, side: Side, watch: _Watch, settings: Settings) -> float:
    """Let one worker do what is left; seconds until the last end."""
    begun = last = time.monotonic()
    seen, poked = len(watch.ended), begun
    with rig.working(side, threads=settings.together):
        while time.monotonic() - last < settings.calm or not _is_empty(rig, side):
            watch.look()
            now = time.monotonic()
            if len(watch.ended) > seen:
                seen, last = len(watch.ended), now
            elif side.peer and now - max(last, poked) > _POKE_AFTER:
                produce(rig, side, "poke", 3)
                poked = time.monotonic()
            elif not side.peer and _is_empty(rig, side):
                break
            if now - last > _PATIENCE:
                raise RuntimeError(f"{side.name}: something is left, and nothing ended in {_PATIENCE:.0f} s")
            time.sleep(0.5)
    watch.look()  # what ended while it was asked whether anything is left
    return last - begun


def _is_empty(rig: Rig, side: Side) -> bool:
    left = produce(rig, side, "left")
    return not any(left.get(state) for state in ("ready", "due", "leased"))


class _Watch:
    """What the journal says of the victims."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._running: set[str] = set()
        self.killed: set[str] = set()
        self.ended: set[str] = set()

    def look(self) -> None:
        for fact in self._reader.new():
            if fact.kind == "started":
                self._running.add(fact.id)
            elif fact.kind == "ended":
                self._running.discard(fact.id)
                self.ended.add(fact.id)

    def running(self) -> set[str]:
        self.look()
        return self._running

    def bury(self) -> None:
        """Their worker is dead."""
        self.killed |= self.running()
        self._running = set()
