"""F10: the clocks of workers and publishers are a day off, and that of Redis is set by an hour: the server's rules."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults import fault_app
from tests.faults.grounds import RedisGround
from tests.faults.preloading import Preload
from tests.faults.rig import ROOT, Rig

DAY, HOUR = 86_400, 3_600


@pytest.fixture
def preload(tmp_path: Path) -> Preload:
    return Preload(tmp_path)


@pytest.fixture
def ground(preload: Preload) -> Iterator[RedisGround]:
    ground = RedisGround(binary=preload.redis())
    yield ground
    ground.close()


def test_workers_whose_clocks_are_a_day_off_run_nothing_twice_and_nothing_early(
    rig: Rig, tmp_path: Path
) -> None:
    with ExitStack() as fleets:
        for offset in (-DAY, 0, DAY):
            folder = tmp_path / f"clock{offset}"
            folder.mkdir()
            other = Preload(folder)
            other.set_clock(offset)
            _publish_by_another_clock(rig, other)
            fleets.enter_context(
                rig.fleet("-c", "1", size=1, lease=1.0, folder=folder, environment=other.environment)
            )
        rig.publish(fault_app.work, ((number, 0.02) for number in range(300)))
        long = rig.publish(fault_app.work, [(0, 4.0)] * 3)  # four leases
        rig.await_drained(60)
    rig.check(max_crashes=0)
    facts = rig.facts("attempted", "started")
    runs = Counter(fact.id for fact in facts if fact.kind == "started")
    assert set(runs.values()) == {1}, "no extra runs"
    assert all(rig.engine.get(id).attempt == 1 for id in long)
    published = {fact.id: fact.at for fact in facts if fact.kind == "attempted"}
    delays = [f.at - published[f.id] for f in facts if f.kind == "started" and f.id.startswith("delayed")]
    assert len(delays) == 3
    assert min(delays) >= 2.0, "started before its time"
    assert max(delays) < 2.0 + 20.0


def _publish_by_another_clock(rig: Rig, preload: Preload) -> None:
    """A publisher whose clock is off: a countdown of 2 s, and an expiry that is far away."""
    code = (
        "from tests.faults.fault_app import journal, work; import os, time\n"
        "id = f'delayed-{os.getpid()}'\n"
        "print(time.time())\n"
        "journal().note('attempted', id)\n"
        "work.using(task_id=id, countdown=2, expires=120).delay(1)\n"
        "journal().note('confirmed', id)\n"
    )
    environment = {**rig.environment(), **preload.environment}
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    print(f"a publisher's clock is off by {float(ran.stdout) - time.time():.0f} s")


def test_a_redis_whose_clock_is_set_by_an_hour_loses_nothing(rig: Rig, preload: Preload) -> None:
    assert isinstance(rig.ground, RedisGround)
    extra = 0
    with rig.fleet("-c", "1", size=2, lease=1.0) as fleet:
        rig.publish(fault_app.work, ((number, 0.01) for number in range(1000)))
        for step, offset in enumerate((HOUR, 0, -HOUR, 0), 1):
            rig.await_count("ended", step * 150, 30)
            extra += sum(owner.held for owner in rig.engine.owners())
            preload.set_clock(offset)
        rig.await_drained(60)
        fleet.stop()
    report = rig.check(max_crashes=20)
    print(f"{report.duplicated} extra runs, {extra} were leased when the clock was set")
    assert report.done == 1000
    assert report.duplicated <= extra
