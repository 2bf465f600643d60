"""What `settled` hooks hear: how the transition went, and what is kept of a run until that is known."""

from __future__ import annotations

from datetime import UTC, datetime
from queue import SimpleQueue
from types import SimpleNamespace

import pytest

from reliq import Done, Drop, Fail, Middleware, Reliq, Retry, Snooze
from reliq.errors import TaskCancelled
from reliq.ports.values import Delivery, Settled
from reliq.testing import Harness
from reliq.worker.job import Job
from reliq.worker.loop import AsyncLoop
from reliq.worker.settler import Settler
from reliq.worker.slots import Slots, escaped


def boom():
    raise ValueError("no")


def hearing(told, answers=None):
    """A middleware that writes down what its `settled` hears, of these answers."""

    class Hearing(Middleware):
        settled_on = answers

        def prerun(self, ctx):
            ctx.state["here"] = True

        def settled(self, ctx, ending):
            told.append((ending.answer, ending.state, ending.reason, ending.verdict, dict(ctx.state)))

    return Hearing()


def settler_of(harness, broker=None):
    return Settler(broker or harness.engine, harness.runner, SimpleNamespace(free=lambda place: None))


@pytest.mark.parametrize(
    ("body", "verdict"),
    [(lambda: 1, Done()), (boom, Fail("ValueError: no")), (lambda: Snooze(2), Snooze(2.0))],
)
def test_a_hook_that_hears_only_of_refusals_keeps_no_run_in_memory(body, verdict, caplog):
    told, freed = [], []

    class Refusals(Middleware):
        settled_on = frozenset({"stale", "repeated"})

        def prerun(self, ctx):
            ctx.state["here"] = True

        def settled(self, ctx, ending):
            told.append((ending.answer, ending.id, ctx.id, dict(ctx.state), ending.verdict))

    app = Reliq("shop", broker="memory://", middleware=[Refusals()])
    task = app.task(name="t")(body)
    with Harness(app) as harness:
        id = task.delay().id
        delivery = harness.claim().deliveries[0]
        settlement = harness.runner.run(harness.runner.open(delivery))
        settler = Settler(harness.engine, harness.runner, SimpleNamespace(free=freed.append))
        for status in ("applied", "stale", "repeated"):
            settler.answered([(settlement, delivery, 7)], [Settled(id, status)])
        assert told == [(status, id, id, {}, verdict) for status in ("stale", "repeated")]
        assert freed == [7, 7, 7]
        assert task.chain.settled_applied == () and len(task.chain.settled) == 1


@pytest.mark.parametrize("body", [lambda: 1, boom], ids=["done", "failed"])
def test_settled_hears_what_was_stored_where_the_broker_refused_the_verdict(body):
    told = []
    app = Reliq("shop", broker="memory://", middleware=[hearing(told)])
    task = app.task(name="t")(body)
    with Harness(app) as harness:
        handle = task.delay()
        job = harness.runner.open(harness.claim().deliveries[0])
        wanted = harness.runner.run(job)

        def refusing(settlements):
            if settlements[0] is wanted:
                raise ValueError("too strange")
            return harness.engine.settle(settlements)

        settler = settler_of(harness, SimpleNamespace(settle=refusing))
        settler.add((wanted, job.kept(), 0))
        settler.flush()
        record = handle.record()
        assert record.state == "failed" and "too strange" in record.reason
        assert told == [("applied", "failed", record.reason, Fail(record.reason), {"here": True})]


def test_settled_hears_of_the_cancel_that_came_beside_the_task_s_code():
    told = []
    app = Reliq("shop", broker="memory://", middleware=[hearing(told)])
    task = app.task(name="t")(lambda: 1)
    with Harness(app) as harness:
        task.delay()
        delivery = harness.claim().deliveries[0]
        job = harness.runner.open(delivery)
        harness.runner.run(job)  # it has concluded already
        settler = settler_of(harness)
        settler.add((escaped(delivery.receipt, TaskCancelled()), job.kept(), 0))
        settler.flush()
    assert told == [("applied", "dropped", "cancelled", Drop("cancelled"), {"here": True})]


@pytest.mark.parametrize("answers", [None, {"stale"}])
@pytest.mark.parametrize("outer_ends", [False, True])
def test_a_hook_that_was_not_entered_hears_of_no_answer(answers, outer_ends):
    class Shuts(Middleware):
        def prerun(self, ctx):
            return Drop("closed") if outer_ends else None

    told, outer = [], []
    middleware = [hearing(outer, answers), Shuts(), hearing(told, answers)]
    middleware[0].name = "outer"
    app = Reliq("shop", broker="memory://", middleware=middleware)
    task = app.task(name="t")(lambda: 1)
    with Harness(app) as harness:
        id = task.delay().id
        job = harness.runner.open(harness.claim().deliveries[0])
        settlement = harness.runner.run(job)
        settler_of(harness).answered([(settlement, job.kept(), 0)], [Settled(id, "stale")])
        settler_of(harness).answered([(settlement, job.kept(), 0)], [Settled(id, "applied")])
    answered = ["stale"] if answers else ["stale", "applied"]
    assert [answer for answer, *_ in outer] == answered
    assert [answer for answer, *_ in told] == ([] if outer_ends else answered)
    assert [state for *_, state in outer] == ([{}] if answers else [{"here": True}] * 2)


@pytest.mark.parametrize("answers", [None, {"stale"}])
@pytest.mark.parametrize("verdict", [Retry, Snooze])
def test_settled_hears_for_which_moment_a_message_was_put_off(answers, verdict):
    told = []
    at = datetime(2199, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
    app = Reliq("shop", broker="memory://", middleware=[hearing(told, answers)])
    task = app.task(name="t")(lambda: verdict(at=at))
    with Harness(app) as harness:
        id = task.delay().id
        job = harness.runner.open(harness.claim().deliveries[0])
        settlement = harness.runner.run(job)
        settler_of(harness).answered([(settlement, job.kept(), 0)], [Settled(id, "stale")])
    assert [ending[3] for ending in told] == [verdict(at=at)]


@pytest.mark.parametrize(
    ("answers", "kept", "state"),
    [([], type(None), None), ([None], Job, {"here": True}), ([{"stale"}], Delivery, {})],
)
def test_harness_slots_and_loop_keep_the_same_of_a_run(answers, kept, state):
    told = []
    app = Reliq("shop", broker="memory://", middleware=[hearing(told, a) for a in answers])

    async def later():
        return 7

    tasks = [app.task(name="sync")(lambda: 7), app.task(name="async")(later)]
    finished = SimpleQueue()
    settler = SimpleNamespace(add=finished.put)
    board = SimpleNamespace(mark_async=bool, park=bool, start=lambda *_: True, finish=bool, free=bool)
    with Harness(app) as harness:
        loop = AsyncLoop(harness.runner, board, settler, slots=1)
        slots = Slots.__new__(Slots)
        slots._runner, slots._board, slots._settler = harness.runner, board, settler
        slots._interrupts, slots._dispatch = harness.runner, loop.dispatch
        slots._look_out, slots.forked = bool, False
        for task in tasks:
            id = task.delay().id
            delivery = harness.claim().deliveries[0]
            slots._run(delivery, 0)
            item = finished.get(timeout=20)
            assert type(item[1]) is kept
            settler_of(harness).answered([item], [Settled(id, "stale")])
            harness.engine.bury(delivery.receipt.owner, started=[delivery.receipt])
            harness.settle(delivery)
            harness._register()
            harness.engine.cancel(id)
    assert [ending[4] for ending in told] == ([] if state is None else [state] * 4)
