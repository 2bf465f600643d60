"""A batch goes the common way together; what differs within it stays apart."""

from __future__ import annotations

import pytest

from reliq.engines.redis.engine import RedisEngine
from reliq.policy.clock import VirtualClock
from reliq.ports.values import Settlement
from tests.engines.redis.conftest import publish


@pytest.fixture
def engine(engine: RedisEngine) -> RedisEngine:
    engine.register("owner", 3600)
    return engine


def test_records_of_one_batch_are_kept_for_as_long_as_each_says(
    engine: RedisEngine, clock: VirtualClock
) -> None:
    for id, keep in (("a", 10_000), ("b", 20_000), ("c", 10_000)):
        publish(engine, id, keep=keep)
    claimed = engine.claim("owner", ["q"], limit=3, seq=1)
    engine.claim(
        "owner",
        ["q"],
        limit=1,
        seq=2,
        settlements=[Settlement(d.receipt, "done") for d in claimed.deliveries],
    )
    clock.advance(11)
    assert engine.reap().purged == 2
    assert [engine.get(id) is None for id in "abc"] == [True, False, True]
    clock.advance(10)
    assert engine.reap().purged == 1


def test_results_are_kept_of_those_alone_that_keep_them(engine: RedisEngine) -> None:
    for id, keeps in (("a", True), ("b", False), ("c", True)):
        publish(engine, id, keep_result=keeps)
    claimed = engine.claim("owner", ["q"], limit=3, seq=1)
    done = [Settlement(d.receipt, "done", value=d.receipt.id.encode()) for d in claimed.deliveries]
    assert [one.status for one in engine.settle([*done, done[1]])] == ["applied"] * 3 + ["repeated"]
    assert [engine.get(id).value for id in "abc"] == [b"a", None, b"c"]  # type: ignore[union-attr]


def test_each_delivery_of_a_batch_says_what_is_its_own(engine: RedisEngine, clock: VirtualClock) -> None:
    publish(engine, "again", priority=9)
    (again,) = engine.claim("owner", ["q"], limit=1, seq=1).deliveries
    engine.settle([Settlement(again.receipt, "retry", after=0)])
    clock.advance(1)
    engine.reap()
    publish(engine, "new-1")
    clock.advance(1)
    publish(engine, "new-2")
    claimed = engine.claim("owner", ["q"], limit=3, seq=2).deliveries
    told = {d.receipt.id: (d.attempt, d.retries) for d in claimed}
    assert told == {"again": (2, 1), "new-1": (1, 0), "new-2": (1, 0)}
    for delivery in claimed:
        record = engine.get(delivery.receipt.id)
        assert record is not None
        assert (record.fence, record.attempt) == (delivery.receipt.fence, delivery.attempt)
        assert (record.published, record.due) == (delivery.published, delivery.due)


def test_the_next_due_time_is_of_what_is_due_not_of_what_expires(
    engine: RedisEngine, clock: VirtualClock
) -> None:
    publish(engine, "other", queue="other", expires_in=1_000)
    publish(engine, "late", queue="b", delay=9_000)
    publish(engine, "later", queue="a", delay=10_000)
    claimed = engine.claim("owner", ["a", "b"], limit=1, seq=1)
    assert claimed.next_due == clock.now_ms() + 9_000
    assert engine.claim("owner", ["b", "a"], limit=1, seq=2).next_due == claimed.next_due
