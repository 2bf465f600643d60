"""F8: a worker that is told to stop ends in time, loses nothing, and nothing that finished runs again."""

from __future__ import annotations

import random
import signal
import time

import pytest

from reliq.testing.faults import Fleet
from tests.faults import fault_app
from tests.faults.rig import Rig

MARGIN = 3.0  # seconds after the time-out within which a worker is gone


def stop_all(rig: Rig, fleet: Fleet, *, allowed: float) -> None:
    """SIGTERM to everybody at once; each must end in time, and well."""
    begun = time.monotonic()
    for worker in fleet.workers:
        worker.ask_to_stop()
    for worker in fleet.workers:
        worker.await_end(max(0.1, begun + allowed - time.monotonic()))
        # One that has not got as far as to start a child has nothing to give back either.
        begun_work = "started" in worker.tail()
        assert worker.exit_status == 0 or (worker.exit_status == -signal.SIGTERM and not begun_work), (
            worker.tail()
        )
    fleet.workers.clear()


def stop_cycles(rig: Rig, *, cycles: int, workers: int, longest: float, grace: float, timeout: float) -> None:
    dice = random.Random(rig.seed)
    arguments = ("-c", "1", "--shutdown-timeout", str(grace))
    for cycle in range(cycles):
        seconds = [0.1 * (longest / 0.1) ** dice.random() for _ in range(workers * 4)]
        rig.publish(fault_app.work, ((number, s) for number, s in enumerate(seconds)))
        rig.publish(fault_app.nap, ((number, s) for number, s in enumerate(seconds[:workers])))
        before = len(rig.facts("started"))
        with rig.fleet(*arguments, size=workers, lease=30.0) as fleet:
            rig.await_true(lambda n=before: _processes(rig, n) >= workers, 60)  # type: ignore[misc]
            time.sleep(dice.uniform(0.0, 0.3))
            stop_all(rig, fleet, allowed=grace + MARGIN)
        assert sum(o.held for o in rig.engine.owners()) == 0, (
            f"cycle {cycle}: what had not started is given back"
        )
    with rig.fleet("-c", "2", "--threads", "64", size=1, lease=30.0) as fleet:
        rig.await_drained(timeout)
        fleet.stop()
    report = rig.check(max_crashes=20)
    assert report.done == report.confirmed
    ended: set[str] = set()
    for fact in rig.facts("started", "ended"):
        assert fact.kind == "ended" or fact.id not in ended, f"{fact.id} had finished and ran again"
        if fact.kind == "ended":
            ended.add(fact.id)


def _processes(rig: Rig, after: int) -> int:
    """In how many processes tasks have started since."""
    return len({fact.pid for fact in rig.facts("started")[after:]})


def test_stopping_under_load_loses_nothing_and_repeats_nothing_that_finished(rig: Rig) -> None:
    stop_cycles(rig, cycles=2, workers=4, longest=3.0, grace=1.0, timeout=30)


def test_an_idle_worker_ends_within_a_second(rig: Rig) -> None:
    seconds = []
    for number in range(3):  # the machine may be busy with other tests
        rig.publish(fault_app.work, [(number, 0.0)])
        with rig.fleet("-c", "2", size=1) as fleet:
            rig.await_drained(20)
            time.sleep(0.5)
            seconds.append(fleet.workers[0].stop())
        if seconds[-1] < 1.0:
            return
    raise AssertionError(f"it took {seconds}")


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_two_hundred_stops_under_load(rig: Rig) -> None:
    stop_cycles(rig, cycles=20, workers=10, longest=60.0, grace=25.0, timeout=600)
