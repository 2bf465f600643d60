"""F7: a worker that is stopped for three leases finds out that it is dead, and harms nothing."""

from __future__ import annotations

import signal
import time

import pytest

from reliq.testing.faults import Pauser
from reliq.testing.faults.processes import signal_tree
from tests.faults import fault_app
from tests.faults.rig import Rig


def test_a_stopped_workers_settlement_is_refused_and_the_new_holders_lock_stays(rig: Rig) -> None:
    id = rig.publish_one(fault_app.once, ("k", 3.0))
    with rig.fleet(size=1) as fleet:
        rig.await_count("started", 1, 20)
        stopped = fleet.workers[0]
        signal_tree(stopped.pid, signal.SIGSTOP)
        paused = time.monotonic()
        other = fleet.start()
        rig.await_count("started", 2, 20)
        rig.await_true(
            lambda: time.monotonic() - paused > 3.2, 5
        )  # three leases, and the task's time is over
        signal_tree(stopped.pid, signal.SIGCONT)
        time.sleep(0.5)  # it settles, or hears that its owner is dead; neither may change anything
        record = rig.engine.get(id)
        assert record.state == "leased" and record.owner.split(":")[1] in {str(p.pid) for p in other.tree()}
        assert fault_app.once.delay("k", 0.0).existing_id == id, "the lock belongs to the new holder's run"
        rig.await_drained(10)
        assert rig.engine.get(id).state == "done"
        again = rig.publish_one(fault_app.once, ("k", 0.0))
        more = rig.publish(fault_app.work, ((number, 0.2) for number in range(20)))
        rig.await_drained(15)
        assert {rig.engine.get(i).state for i in (again, *more)} == {"done"}
        busy = {fact.pid for fact in rig.facts("started") if fact.id in more}
        assert len(busy) == 2, "the stopped worker works again, as a new owner"
        fleet.stop()
    first, second = (fact.pid for fact in rig.facts("started") if fact.id == id)
    answers = {fact.pid: fact.details["answer"] for fact in rig.facts("settled") if fact.id == id}
    assert answers.pop(second) == "applied"
    assert answers in ({}, {first: "stale"})
    report = rig.check(max_crashes=1)
    assert report.duplicated == 1


def pause_workers(rig: Rig, *, tasks: int, times: int, timeout: float) -> None:
    rig.publish(fault_app.work, ((number, 0.05) for number in range(tasks)))
    with rig.fleet(size=3) as fleet:
        rig.await_count("started", 1, 20)
        pauser = Pauser(fleet.pids, seed=rig.seed, every=0.5, pause=3.0, journal=rig.journal, times=times)
        with pauser:
            rig.await_drained(timeout)
        fleet.stop()
    report = rig.check(max_crashes=20)
    assert report.done == tasks
    assert pauser.acted == times


@pytest.mark.full
@pytest.mark.timeout(900)
def test_workers_that_are_stopped_again_and_again_lose_nothing(rig: Rig) -> None:
    pause_workers(rig, tasks=10_000, times=40, timeout=800)
