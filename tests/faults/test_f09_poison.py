"""F9: tasks that take their process down are quarantined after three runs; their neighbours never are."""

from __future__ import annotations

import random
from itertools import cycle

import pytest

from tests.faults import fault_app
from tests.faults.rig import Rig

WAYS = ("exit", "segv", "kill")


def poison_the_flow(rig: Rig, *arguments: str, tasks: int, poisons: int, timeout: float) -> None:
    dice = random.Random(rig.seed)
    calls = [(fault_app.work, (number, 0.0)) for number in range(tasks - poisons)]
    for how, _ in zip(cycle(WAYS), range(poisons), strict=False):
        calls.insert(dice.randrange(len(calls)), (fault_app.poison, (how,)))
    ids = {rig.publish_one(task, call): task for task, call in calls}
    with rig.fleet(*arguments, size=1, lease=10.0) as fleet:
        rig.await_drained(timeout)
        assert fleet.pids() == [fleet.workers[0].pid], "the parent outlives its children"
        fleet.stop()
    report = rig.check(max_crashes=3)
    assert (report.done, report.failed) == (tasks - poisons, poisons)
    runs: dict[str, int] = {}
    for fact in rig.facts("started"):
        runs[fact.id] = runs.get(fact.id, 0) + 1
    for record in rig.engine.list(states=("failed",), limit=10_000):
        assert ids[record.id] is fault_app.poison, f"an innocent was quarantined: {record}"
        assert record.reason == "crashed 3 times" and runs[record.id] <= 3


@pytest.mark.parametrize(
    "arguments", [("-c", "2"), ("-c", "1", "--threads", "8")], ids=["children", "threads"]
)
def test_poison_is_quarantined_and_innocents_are_not(rig: Rig, arguments: tuple[str, ...]) -> None:
    poison_the_flow(rig, *arguments, tasks=600, poisons=3, timeout=60)


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "arguments", [("-c", "2"), ("-c", "1", "--threads", "8")], ids=["children", "threads"]
)
def test_a_hundred_poisons_among_ten_thousand(rig: Rig, arguments: tuple[str, ...]) -> None:
    poison_the_flow(rig, *arguments, tasks=10_000, poisons=100, timeout=1500)
