"""F17: one in a hundred fails, then all, then none: no retry storm comes of it, and the queue recovers."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from reliq.testing.faults.check import all_records
from tests.faults import fault_app
from tests.faults.rig import Rig

MAX_RETRIES = 3


def storm(rig: Rig, *, tasks: int, timeout: float) -> None:
    phases = {share: [] for share in (0.01, 1.0, 0.0)}
    recovered = 0.0
    with rig.fleet("-c", "2", size=1) as fleet:
        for share, ids in phases.items():
            begun = time.monotonic()
            ids += rig.publish(fault_app.shaky, ((number, share) for number in range(tasks)))
            live = rig.left()
            assert live <= len(rig.facts("attempted")), "the queue is never longer than what was published"
            if share == 1.0:
                rig.await_count("started", sum(map(len, phases.values())), timeout)
        last = set(phases[0.0])
        rig.await_true(lambda: last <= {f.id for f in rig.facts("ended")}, timeout)
        recovered = time.monotonic() - begun
        rig.await_drained(timeout)
        fleet.stop()
    print(f"recovered {recovered:.1f} s after the errors ended")
    assert recovered < 60
    report = rig.check(max_retries=MAX_RETRIES, max_crashes=0)
    runs = Counter(fact.id for fact in rig.facts("started"))
    for record in all_records(rig.engine):
        assert runs[record.id] == record.retries + 1 == (4 if record.state == "failed" else 1)
    failing = sum(1 for number in range(tasks) if number % 1000 < 10) + tasks
    assert (report.failed, report.done) == (failing, 3 * tasks - failing)
    assert report.duplicated == 0


def test_failing_tasks_make_no_storm(rig: Rig) -> None:
    storm(rig, tasks=100, timeout=40)


@pytest.mark.full
@pytest.mark.timeout(900)
def test_thousands_of_failing_tasks_make_no_storm(rig: Rig) -> None:
    storm(rig, tasks=10_000, timeout=600)
