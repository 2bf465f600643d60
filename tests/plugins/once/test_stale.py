"""A process that was held up for longer than its lease, and starts its message all the same."""

from __future__ import annotations

import pytest

from reliq.ports import records
from reliq_once import AlreadyQueued

LOST = "this run has lost its message (decided by middleware 'once')"  # a settlement that is refused
STARTING = {
    "start": {"until": "start"},
    "replace": {"until": "start", "on_conflict": "replace"},
    "debounce": {"debounce": (1, 5)},
    "slots": {"while_running": 1},
    "rerun": {"on_conflict": "rerun"},
}


def taken_away(bench):
    """The next delivery, whose message its worker has lost."""
    delivery = bench.claim()
    bench.engine.bury(delivery.receipt.owner, started=[])
    bench.harness._register()
    return delivery


@pytest.mark.parametrize("mode", STARTING)
def test_it_neither_runs_nor_frees_the_lock_of_the_message_it_lost(bench, mode):
    ran = []
    work = bench.task(lambda: ran.append(1), once={"keys": [], **STARTING[mode]})
    first = work.delay()
    bench.clock.advance(2)
    late = taken_away(bench)
    before = sorted(records(bench.engine, "once"))
    said = bench.harness.settle(late)
    assert (said.reason, ran) == (LOST, [])
    assert sorted(records(bench.engine, "once")) == before
    if mode == "start":
        with pytest.raises(AlreadyQueued):
            work.delay()
    bench.run(advance=True)
    assert (ran, first.state) == ([1], "SUCCESS") and (bench.locks(), bench.slots()) == ([], [])


@pytest.mark.parametrize("mode", STARTING)
def test_it_takes_nothing_from_the_run_that_came_after_it(bench, mode):
    """That one runs: it has let go of the lock, and another call has it."""
    ran = []
    work = bench.task(lambda n: ran.append(n), once={"keys": [], **STARTING[mode]})
    work.delay(1)
    bench.clock.advance(2)
    late = taken_away(bench)
    current = bench.claim()
    job = bench.harness.runner.open(current)
    entered, _ = job.task.chain.enter(job.ctx)
    assert entered is None
    second = work.delay(2)
    before = sorted(records(bench.engine, "once"))
    said = bench.harness.settle(late)
    assert (said.reason, ran) == (LOST, [])
    assert sorted(records(bench.engine, "once")) == before and second.id in bench.locks()


def test_it_does_not_take_a_lapsed_lock_again(bench, caplog):
    ran = []
    work = bench.task(lambda: ran.append(1), once={"timeout": 60})
    first = work.delay()
    bench.clock.advance(3600)
    late = taken_away(bench)
    assert bench.locks() == []
    said = bench.harness.settle(late)
    assert (said.reason, ran, bench.locks()) == (LOST, [], [])
    assert "once.lapsed" not in caplog.text and not bench.counters["lapses"]
    bench.run()
    assert (ran, first.state) == ([1], "SUCCESS")


def test_a_message_that_ended_meanwhile_is_not_run_by_it(bench):
    ran = []
    work = bench.task(lambda: ran.append(1), once={"until": "start"})
    work.delay()
    late = taken_away(bench)
    bench.run()
    second = work.delay()
    said = bench.harness.settle(late)
    assert (said.reason, ran, bench.locks()) == (LOST, [1], [second.id])
