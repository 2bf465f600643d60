"""F13: a full disk, a file that may not grow, processes that die all the time: clear errors, nothing lost."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reliq.errors import PublishRefused
from reliq.testing.faults import Killer, kill_tree
from tests.faults import fault_app
from tests.faults.conftest import SEED
from tests.faults.grounds import SqliteGround
from tests.faults.rig import ROOT, Rig


@pytest.fixture
def ground(tmp_path: Path) -> SqliteGround:
    return SqliteGround(tmp_path / "faults.sqlite3")


def publish_until_refused(rig: Rig, *, size: int = 1, most: int = 100_000) -> str:
    """Publish until the broker is full; what the publisher is told."""
    for number in range(most):
        try:
            rig.publish_one(fault_app.work, (number,), headers={"filler": "x" * size})
        except PublishRefused as refused:
            return f"{type(refused.__cause__).__name__}: {refused}"
    raise AssertionError(f"{most:,} messages fit")


def test_a_file_that_may_not_grow_refuses_clearly_and_loses_nothing(rig: Rig) -> None:
    pages = rig.engine._link.read(lambda execute: execute("PRAGMA page_count").fetchone()[0])
    limit = rig.engine._link.read(
        lambda execute: execute(f"PRAGMA max_page_count = {pages + 100}").fetchone()[0]
    )
    told = publish_until_refused(rig)
    assert told.startswith("BrokerFull: ") and "cannot grow" in told and "Nothing was published" in told
    rig.engine._link.read(lambda execute: execute(f"PRAGMA max_page_count = {limit + 10_000}").fetchone())
    rig.publish(fault_app.work, [(0,)])
    with rig.fleet(size=1) as fleet:
        rig.await_drained(20)
        fleet.stop()
    rig.check()
    rig.ground.check()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], capture_output=True, check=False
    ).returncode == 0  # fmt: skip
    if not mounted:
        lacking = pytest.fail if os.environ.get("RELIQ_TEST_REQUIRE") else pytest.skip
        lacking("a full disk is made by mounting a small one, which only root may")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_refuses_clearly_and_loses_nothing_once_there_is_room(
    small_disk: Path, tmp_path: Path
) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1_500_000))
    rig = Rig(tmp_path, SqliteGround(small_disk / "faults.sqlite3"), seed=SEED)
    try:
        with rig.fleet(size=2) as fleet:
            rig.publish(fault_app.work, [(0,)])
            rig.await_drained(20)
            told = publish_until_refused(rig, size=2000)
            assert told.startswith("BrokerFull: ") and "Free some space: df -h" in told
            time.sleep(2.0)  # two leases: the workers cannot settle, claim or renew
            assert len(fleet.pids()) == 2, fleet.log()
            assert "broker full, trying again" in fleet.log() and "unreachable" not in fleet.log()
            ballast.unlink()
            rig.await_drained(40)
            more = rig.publish(fault_app.work, ((number,) for number in range(20)))
            rig.await_drained(20)
            assert {rig.engine.get(id).state for id in more} == {"done"}
            fleet.stop()
        rig.check(max_crashes=20)
        rig.ground.check()
    finally:
        rig.close()


class Producers:
    """Some producers, each replaced when it was killed."""

    def __init__(self, rig: Rig, size: int) -> None:
        self._rig = rig
        self._running = [self._start() for _ in range(size)]

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.faults.producer"]
        return subprocess.Popen(command, cwd=ROOT, env={**os.environ, **self._rig.environment()})

    def pids(self) -> list[int]:
        return [producer.pid for producer in self._running]

    def replace(self, pid: int) -> None:
        gone = next(producer for producer in self._running if producer.pid == pid)
        gone.wait(timeout=10)
        self._running[self._running.index(gone)] = self._start()

    def kill(self) -> None:
        for producer in self._running:
            kill_tree(producer.pid)
            producer.wait(timeout=10)


def kill_everybody(rig: Rig, *, every: float, kills: int, timeout: float) -> None:
    """Eight processes on one file, one of them killed at a time."""
    producers = Producers(rig, 4)
    with rig.fleet(size=4) as fleet:

        def replace(pid: int) -> None:
            (producers if pid in producers.pids() else fleet).replace(pid)

        def victims() -> list[int]:
            # Only those that have done something: else the processor is busy with nothing but starting them.
            active = {fact.pid for fact in rig.facts("attempted", "started")}
            workers = [worker.pid for worker in fleet.workers if active & {p.pid for p in worker.tree()}]
            return workers + [pid for pid in producers.pids() if pid in active]

        # A number of kills, not of seconds: on a busy machine a process takes long until it has done something.
        try:
            with Killer(
                victims, seed=rig.seed, every=every, times=kills, journal=rig.journal, after=replace
            ) as killer:
                rig.await_true(lambda: killer.acted == kills or killer.error, timeout, fleet.log)
        finally:
            producers.kill()
        rig.await_drained(timeout)
        fleet.stop()
    assert killer.acted == kills
    report = rig.check(max_crashes=20)
    assert report.done >= report.confirmed > 0
    rig.ground.check()


def test_eight_processes_that_are_killed_all_the_time_leave_a_sound_file(rig: Rig) -> None:
    kill_everybody(rig, every=0.2, kills=12, timeout=50)


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_eight_processes_killed_for_minutes_leave_a_sound_file(rig: Rig) -> None:
    kill_everybody(rig, every=0.2, kills=200, timeout=1500)
