"""F1: one of three worker trees is SIGKILLed again and again; nothing is lost, little is repeated."""

from __future__ import annotations

import pytest

from reliq.testing.faults import Killer
from reliq.testing.faults.processes import tree
from tests.faults import fault_app
from tests.faults.rig import Rig


def kill_workers(rig: Rig, *, tasks: int, seconds: float, kills: int, every: float, timeout: float) -> None:
    rig.publish(fault_app.work, ((number, seconds) for number in range(tasks)))
    with rig.fleet(size=3) as fleet:
        rig.await_count("started", 1, 20)
        with Killer(
            lambda: fleet.at_work(rig.engine),
            seed=rig.seed,
            every=every,
            times=kills,
            journal=rig.journal,
            after=fleet.replace,
            leased=rig.leased_to,
        ) as killer:
            rig.await_drained(timeout)
        fleet.stop()
    assert killer.acted >= min(kills, 3)
    # A lost host is found about lease + 5 s later; its messages then wait 1 s, and for one another: they run alone.
    report = rig.check(max_crashes=20, reclaim_within=12.0)
    assert report.done == report.confirmed == tasks
    assert report.in_flight is not None and report.duplicated <= report.in_flight


def test_no_task_is_lost_when_workers_are_killed(rig: Rig) -> None:
    kill_workers(rig, tasks=1500, seconds=0.01, kills=5, every=1.0, timeout=60)


def test_only_a_worker_that_holds_something_is_a_victim(rig: Rig) -> None:
    with rig.fleet(size=2) as fleet:
        assert fleet.at_work(rig.engine) == [], "they have still to start"
        rig.publish(fault_app.work, [(1, 1.0)])
        rig.await_count("started", 1, 30)
        (victim,) = fleet.at_work(rig.engine)
        (fact,) = rig.facts("started")
        assert fact.pid in {process.pid for process in tree(victim)}
        rig.await_drained(20)
        assert fleet.at_work(rig.engine) == []
        fleet.stop()


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_no_task_of_a_hundred_thousand_is_lost(rig: Rig) -> None:
    kill_workers(rig, tasks=100_000, seconds=0.002, kills=10_000, every=1.0, timeout=1500)
