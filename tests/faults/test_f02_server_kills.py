"""F2: Redis is SIGKILLed again and again under load; what it has confirmed is there afterwards.

`appendfsync always` loses nothing.  `everysec` may lose what was confirmed in the last two seconds before the machine
went down.  A SIGKILL takes nothing from the page cache, so there the log is cut back to its last fsync as well.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import fault_app
from tests.faults.grounds import RedisGround
from tests.faults.preloading import Preload
from tests.faults.rig import Producing, Rig

FSYNC_LAG = 2.0  # seconds of what was confirmed that `everysec` may lose


@pytest.fixture
def preload(tmp_path: Path) -> Preload:
    return Preload(tmp_path)


@pytest.fixture
def ground(preload: Preload, request: pytest.FixtureRequest) -> Iterator[RedisGround]:
    ground = RedisGround(appendonly=request.param, binary=preload.redis())
    yield ground
    ground.close()


def kill_server(rig: Rig, *, times: int, every: float, cut: Preload | None = None) -> list[float]:
    """Publish and work while the server is killed; when that was."""
    assert isinstance(rig.ground, RedisGround)
    server, kills = rig.ground.server, []
    with rig.fleet(size=2, lease=3.0) as fleet:
        with Producing(rig, fault_app.work, 1, 0.002):
            rig.await_count("ended", 20, 20)
            for _ in range(times):
                time.sleep(every)
                server.kill()
                kills.append(time.monotonic())
                if cut is not None:
                    _cut_back(server.folder, cut)
                server.start(seconds=60)  # it reads its whole log, on a machine that may be busy
                rig.await_count("ended", len(rig.facts("ended")) + 20, 20)
        rig.await_drained(60)
        fleet.stop()
    assert "Traceback" not in fleet.log(), fleet.log()
    return kills


def _cut_back(folder: Path, preload: Preload) -> None:
    """As if the machine had lost its power: only what was fsynced is there."""
    files = (folder / "appendonlydir").glob("*.incr.aof")
    file = max(files, key=lambda path: path.stat().st_mtime)
    written, synced = file.stat().st_size, preload.synced_size(file)
    print(f"the log is cut back from {written:,} to {synced:,} bytes")
    with open(file, "r+b") as log:
        log.truncate(synced)


def lose_nothing(rig: Rig, *, times: int, every: float) -> None:
    kill_server(rig, times=times, every=every)
    report = rig.check(max_crashes=20)
    assert report.done >= report.confirmed > 50 * times


def lose_two_seconds(rig: Rig, preload: Preload, *, times: int, every: float) -> None:
    kills = kill_server(rig, times=times, every=every, cut=preload)
    report = rig.check_but_for(kills, FSYNC_LAG, max_crashes=20)
    assert report.confirmed > 50 * times


@pytest.mark.parametrize("ground", ["always"], indirect=True)
def test_a_killed_server_that_fsyncs_always_loses_nothing(rig: Rig) -> None:
    lose_nothing(rig, times=3, every=1.5)


@pytest.mark.parametrize("ground", ["everysec"], indirect=True)
def test_a_server_without_its_last_second_loses_no_more_than_two(rig: Rig, preload: Preload) -> None:
    lose_two_seconds(rig, preload, times=2, every=2.5)


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("ground", ["always"], indirect=True)
def test_a_server_killed_for_minutes_loses_nothing(rig: Rig) -> None:
    lose_nothing(rig, times=60, every=10.0)


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("ground", ["everysec"], indirect=True)
def test_a_server_robbed_for_minutes_loses_no_more_than_two_seconds(rig: Rig, preload: Preload) -> None:
    lose_two_seconds(rig, preload, times=60, every=10.0)
