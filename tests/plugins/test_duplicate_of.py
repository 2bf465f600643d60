"""A duplicate tells the hooks outside whose it is, and in which trace that one was published."""

from __future__ import annotations

from contextlib import suppress

import pytest

from reliq import DuplicateOf, Fail, Observer, Reliq, Retry
from reliq.ports import records
from reliq.testing import Harness
from reliq_idempotency import Idempotency
from reliq_once import AlreadyQueued, QueueOnceMiddleware

FIRST = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SECOND = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Tracing(Observer):
    """As a tracing plug-in: its own span's context goes into the headers, a duplicate's span is linked."""

    def __init__(self) -> None:
        self.current = FIRST
        self.links: list[tuple[str, DuplicateOf]] = []

    def publish(self, ctx):
        mine = ctx.headers["traceparent"] = self.current
        try:
            yield
        finally:
            if ctx.duplicate_of is not None:
                self.links.append((mine, ctx.duplicate_of))


@pytest.fixture
def tracing():
    return Tracing()


@pytest.fixture
def harness(engine, clock, tracing):
    app = Reliq("shop", broker="memory://", middleware=[tracing, Idempotency(), QueueOnceMiddleware()])
    with Harness(app, clock=clock, engine=engine) as harness:
        yield harness


@pytest.mark.parametrize(
    ("once", "until"),
    [
        ({}, "ready"),
        ({"on_conflict": "drop"}, "ready"),
        ({"on_conflict": "join"}, "ready"),
        ({"on_conflict": "replace"}, "leased"),
        ({"until": "expiry"}, "done"),
        ({"hold_on_failure": True}, "failed"),
        ({"on_conflict": "join"}, "due"),
    ],
)
def test_whatever_becomes_of_a_second_call_it_can_be_linked_to_the_first(harness, tracing, once, until):
    outcome = {"failed": Fail("no"), "due": Retry(60)}.get(until)
    work = harness.app.task(name="work", once=once)(lambda: outcome)
    first = work.delay()
    if until == "leased":
        harness.claim()
    elif until != "ready":
        harness.run_one()
    tracing.current = SECOND
    with suppress(AlreadyQueued):
        work.delay()
    assert tracing.links == [(SECOND, DuplicateOf(first.id, until, FIRST))]


@pytest.mark.parametrize("until", ["ready", "leased", "done", "failed", "purged"])
@pytest.mark.parametrize("large", [False, True])
def test_a_second_send_can_be_linked_to_the_first(harness, tracing, until, large):
    options = {"keys": "all", "replay_failures": "permanent", **({"max_result": 1} if large else {})}
    body = (lambda: Fail("no")) if until == "failed" else (lambda: "paid")
    work = harness.app.task(name="work", idempotency=options)(body)
    first = work.delay()
    if until == "leased":
        harness.claim()
    elif until != "ready":
        harness.run_one()
    if until == "purged":
        harness.engine.remove(first.id)
    tracing.current = SECOND
    assert work.delay().id == first.id
    state = None if until == "purged" else until
    assert tracing.links == [(SECOND, DuplicateOf(first.id, state, FIRST))]


def test_a_record_that_a_run_took_again_has_the_trace_of_its_message(harness, tracing):
    work = harness.app.task(name="work", idempotency={"keys": "all", "replay_failures": "permanent"})(
        lambda: 1
    )
    first = work.delay()
    ((key, _),) = sorted(records(harness.engine, "idem:"))
    harness.engine.store_drop(key)
    harness.run_one()
    tracing.current = SECOND
    work.delay()
    assert tracing.links == [(SECOND, DuplicateOf(first.id, "done", FIRST))]


@pytest.mark.parametrize(
    "trace", ["", "junk", "x" * 4_000, "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]
)
def test_what_is_no_trace_is_kept_nowhere(harness, tracing, trace):
    tracing.current = trace
    work = harness.app.task(name="work", once={"graceful": True})(lambda: None)
    first = work.delay()
    work.delay()
    assert tracing.links == [(trace, DuplicateOf(first.id, "ready", None))]


def test_a_first_call_is_no_duplicate(harness, tracing):
    harness.app.task(name="work", once={}, idempotency=True)(lambda: None).delay()
    assert tracing.links == []
