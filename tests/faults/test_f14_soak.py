"""F14: tasks, half of them failing, for a long time: memory, descriptors and the keys of Redis stay where they were."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from reliq.testing.faults import Fleet
from reliq.testing.faults.processes import memory
from tests.faults import fault_app
from tests.faults.grounds import RedisGround
from tests.faults.preloading import Preload
from tests.faults.rig import Rig

MINUTES = float(os.environ.get("RELIQ_TEST_SOAK", "2"))  # `nox -s soak` asks for 30
ROOM = 10_000_000  # bytes that a process may grow by
BATCH = 500
BRIEF = 10  # seconds to live: who idles right now is known by such a key
FORGOTTEN = 120  # seconds until nothing is left of a message: its record is kept for 1, its id known for 60
OFTEN = {"RELIQ_RENEW_EVERY": "1"}  # the clock of the server is set on by minutes


@dataclass(frozen=True)
class Level:
    """What is used, by each process of the worker and by the server."""

    at: float
    resident: tuple[int, ...]
    descriptors: tuple[int, ...]
    keys: int
    entries: int

    def __str__(self) -> str:
        sizes = " ".join(f"{size / 1e6:.1f}" for size in self.resident)
        return (
            f"{self.at:7.1f} s  {sizes} MB  descriptors {self.descriptors}  keys {self.keys} ({self.entries})"
        )


@pytest.fixture
def preload(tmp_path: Path) -> Preload:
    return Preload(tmp_path)


@pytest.fixture
def ground(preload: Preload) -> Iterator[RedisGround]:
    ground = RedisGround(binary=preload.redis())
    yield ground
    ground.close()


class Soak:
    """A worker under a load that half fails."""

    def __init__(self, rig: Rig, fleet: Fleet, preload: Preload) -> None:
        assert isinstance(rig.ground, RedisGround)
        self._rig = rig
        self._server = rig.ground.server
        self._fleet = fleet
        self._preload = preload
        self._begun = time.monotonic()
        self._clock = 0
        self.published = 0

    def work(self, tasks: int) -> None:
        """Publish so many and wait until they have ended."""
        for first in range(0, tasks, BATCH):
            numbers = range(first, min(first + BATCH, tasks))
            self._rig.app.publish_many(fault_app.coin, [(number,) for number in numbers])
            self.published += len(numbers)
            self._rig.await_true(lambda: self._rig.left() < 10 * BATCH, 60)
        self._rig.await_drained(120)

    def forget(self) -> None:
        """Let so much time pass for the server that nothing need be known any more; until it has cleared up."""
        self._clock += FORGOTTEN
        self._preload.set_clock(self._clock)

        def forgotten() -> bool:
            self._rig.engine.reap()
            return not self._rig.engine.list(limit=1)

        self._rig.await_true(forgotten, 30)

    def level(self) -> Level:
        family = self._fleet.workers[0].tree()
        names = [key for key in self._server.do("KEYS", "*") if not 0 < self._server.do("TTL", key) <= BRIEF]
        return Level(
            time.monotonic() - self._begun,
            tuple(memory(process.pid)[0] for process in family),
            tuple(len(os.listdir(f"/proc/{process.pid}/fd")) for process in family),
            len(names),
            sum(self._entries(name) for name in names),
        )

    def _entries(self, key: str) -> int:
        sizes = {"hash": "HLEN", "zset": "ZCARD", "set": "SCARD", "list": "LLEN", "stream": "XLEN"}
        command = sizes.get(self._server.do("TYPE", key))
        return int(self._server.do(command, key)) if command else 1

    def await_level(self, before: Level) -> Level:
        """As it is now, once the keys are back, or have had the time for it."""
        until = time.monotonic() + 20
        while (now := self.level()).keys > before.keys or now.entries > before.entries:
            if time.monotonic() > until:
                break
            self._rig.engine.reap()
            time.sleep(0.5)
        return now

    def compare(self, before: Level, after: Level) -> None:
        print(f"before {before}\nafter  {after}")
        assert len(after.resident) == len(before.resident), "a child was replaced"
        grown = [now - then for then, now in zip(before.resident, after.resident, strict=True)]
        assert max(grown) <= ROOM, f"grown by {grown} bytes"
        assert after.descriptors == before.descriptors
        assert (after.keys, after.entries) == (before.keys, before.entries), self._server.do("KEYS", "*")[:50]


def soak(rig: Rig, preload: Preload, *, warm_up: int, tasks: int) -> None:
    with rig.fleet("-c", "1", "--threads", "4", size=1, lease=200.0, environment=OFTEN) as fleet:
        run = Soak(rig, fleet, preload)
        run.work(warm_up)
        run.forget()
        before = run.level()
        run.work(tasks)
        run.forget()
        run.compare(before, run.await_level(before))
        fleet.stop()
    audit = rig.engine.audit()
    assert audit.balanced, audit
    assert audit.states["done"] == audit.states["failed"] == run.published / 2


def soak_for(rig: Rig, preload: Preload, *, minutes: float) -> None:
    """By the clock: flat while it goes on, and back to the start after it."""
    levels: list[Level] = []
    with rig.fleet("-c", "2", size=1, lease=200.0, environment=OFTEN) as fleet:
        run = Soak(rig, fleet, preload)
        run.work(5_000)
        run.forget()
        before = run.level()
        until = time.monotonic() + minutes * 60
        while time.monotonic() < until:
            run.work(2 * BATCH)
            if not levels or run.level().at - levels[-1].at > 10:
                levels.append(run.level())
                print(levels[-1])
        run.forget()
        run.compare(before, run.await_level(before))
        fleet.stop()
    print(f"{run.published:,} tasks in {minutes:g} minutes")
    third = len(levels) // 3
    if third >= 5:
        early = statistics.median(sum(level.resident) for level in levels[third : 2 * third])
        late = statistics.median(sum(level.resident) for level in levels[-third:])
        assert late - early <= ROOM / 2, f"it still grows: {early / 1e6:.1f} to {late / 1e6:.1f} MB"
    assert rig.engine.audit().balanced


def test_two_thousand_tasks_that_half_fail_leave_nothing_behind(rig: Rig, preload: Preload) -> None:
    soak(rig, preload, warm_up=1_000, tasks=2_000)


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_a_hundred_thousand_tasks_that_half_fail_leave_nothing_behind(rig: Rig, preload: Preload) -> None:
    soak(rig, preload, warm_up=5_000, tasks=100_000)


@pytest.mark.full
@pytest.mark.timeout(int(MINUTES * 60) + 600)
def test_a_worker_soaked_for_minutes_stays_as_it_is(rig: Rig, preload: Preload) -> None:
    soak_for(rig, preload, minutes=MINUTES)
