"""What a file keeps: numbers without gaps, tombstones, owners, and the cost of what waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reliq.engines.sqlite import SqliteEngine, operators
from reliq.engines.sqlite.connection import Step
from reliq.engines.sqlite.publish import encoded, publish
from reliq.policy.clock import VirtualClock
from reliq.ports.values import Publication, Settlement
from reliq.wire.message import CancelMessage, Ending, Put

Make = Callable[..., Publication]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def rows(engine: SqliteEngine, table: str) -> int:
    found: int = engine._link.read(lambda execute: execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    return found


def done(engine: SqliteEngine, owner: str) -> None:
    engine.register(owner, 30)
    claimed = engine.claim(owner, ["q"], limit=1000, seq=1)
    engine.settle([Settlement(delivery.receipt, "done") for delivery in claimed.deliveries])
    engine.bury(owner, started=[])


def test_after_draining_and_purging_only_the_last_number_is_left(
    opened: Callable[..., SqliteEngine], clock: VirtualClock, publication: Make
) -> None:
    engine = opened(clock=clock)
    for round in range(3):
        engine.publish([publication(f"{round}-{n}", keep=1000) for n in range(50)])
        done(engine, f"owner-{round}")
        clock.advance(2)
        assert engine.reap().purged == 50
        assert engine.get(f"{round}-0") is None
        assert engine.publish([publication(f"{round}-0")])[0].status == "duplicate"  # within its window
        clock.advance(120)
        engine.reap()
        assert rows(engine, "message") == 1
        assert engine.audit().accepted == 50 * (round + 1)
        assert engine.audit().balanced
    assert rows(engine, "owner") <= 1  # the one that held the last number


def test_the_id_of_the_last_number_can_be_used_again(
    opened: Callable[..., SqliteEngine], clock: VirtualClock, publication: Make
) -> None:
    engine = opened(clock=clock)
    engine.publish([publication("again", keep=0)])
    done(engine, "owner")
    engine.reap()
    clock.advance(61)
    assert engine.publish([publication("again")])[0].status == "accepted"
    engine.reap()
    assert engine.audit().accepted == 2
    assert engine.audit().balanced


def test_a_reap_with_nothing_to_do_writes_nothing(engine: SqliteEngine, publication: Make) -> None:
    engine.publish([publication()])
    engine.register("owner", 30)
    before = engine._link._db.total_changes
    engine.reap()
    engine.claim("owner", ["empty"], limit=10, seq=1)
    assert engine._link._db.total_changes == before


def test_a_purge_ends_while_others_publish(
    engine: SqliteEngine, publication: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.publish([publication() for _ in range(1500)])
    some = operators.purge_some

    def and_publish(step: Step, *args: Any) -> tuple[int, bool]:
        answer = some(step, *args)
        publish(step, more := [publication() for _ in range(1000)], encoded(more))
        return answer

    monkeypatch.setattr(operators, "purge_some", and_publish)
    assert engine.purge("q") == 1500
    assert engine.depth("q").ready == 2000
    assert engine.audit().balanced


def test_one_claim_promotes_a_bounded_number_of_all_queues(
    opened: Callable[..., SqliteEngine], clock: VirtualClock, publication: Make
) -> None:
    engine = opened(clock=clock)
    queues = [f"q{number}" for number in range(10)]
    for queue in queues:
        engine.publish([publication(queue=queue, delay=1000) for _ in range(300)])
    clock.advance(2)
    engine.register("owner", 30)
    assert len(engine.claim("owner", queues, limit=10, seq=1).deliveries) == 10
    assert (
        sum(engine.depth(queue).due for queue in queues) == 2000
    )  # the lock is not held for a whole backlog
    found = [d for seq in range(2, 6) for d in engine.claim("owner", queues, limit=1000, seq=seq).deliveries]
    assert len(found) == 2990


def test_one_sweep_removes_all_tombstones_whose_time_is_over(
    opened: Callable[..., SqliteEngine], clock: VirtualClock, publication: Make
) -> None:
    engine = opened(clock=clock)
    for number in range(3):
        engine.publish([publication(keep=0) for _ in range(900)])
        done(engine, f"owner-{number}")
    while engine.reap().more:
        pass
    assert rows(engine, "message") == 2700  # their ids are duplicates for a minute
    clock.advance(61)
    while engine.reap().more:
        pass
    assert rows(engine, "message") == 1
    assert engine.audit().balanced


def test_a_story_names_no_stranger_after_the_clock_was_set_back(
    opened: Callable[..., SqliteEngine], clock: VirtualClock, publication: Make
) -> None:
    engine = opened(clock=clock)
    engine.publish([publication("kept")])
    clock.jump(-3600)
    done(engine, "who ran it")
    clock.advance(100)
    engine.reap()  # forgets that owner, as it was gone before the oldest record, by the clock
    engine.register("stranger", 30)
    record = engine.get("kept")
    assert record is not None
    assert "stranger" not in {step.owner for step in record.transitions}


def test_a_purge_goes_in_the_order_of_acceptance(engine: SqliteEngine, publication: Make) -> None:
    def told(id: str, **fields: Any) -> Publication:
        return publication(id, on_end=(Ending("dropped", (Put("last", id.encode()),)),), **fields)

    engine.publish([told("due", delay=60_000), told("ready")])
    assert engine.purge("q") == 2
    last = engine.store_get("last")
    assert last is not None
    assert last.data == b"ready"


def test_a_message_behind_many_expired_ones_is_reached_in_steps_of_bounded_size(
    opened: Callable[..., SqliteEngine], clock: VirtualClock, publication: Make
) -> None:
    engine = opened(clock=clock)
    engine.publish([publication(expires_in=1000) for _ in range(3500)])
    clock.advance(2.0)
    engine.publish([publication("fresh")])
    engine.register("owner", 30)
    deliveries, dropped = [], []
    for seq in range(1, 6):
        deliveries += engine.claim(
            "owner", ["q"], limit=1, seq=seq, wait=10.0
        ).deliveries  # waits for nothing
        dropped.append(engine.audit().states["dropped"])
    assert dropped == [1000, 2000, 3000, 3500, 3500]
    assert [delivery.receipt.id for delivery in deliveries] == ["fresh"]
    assert engine.audit().balanced


def test_the_end_of_one_expired_message_is_seen_by_the_next(
    opened: Callable[..., SqliteEngine], clock: VirtualClock, publication: Make
) -> None:
    engine = opened(clock=clock)
    cancels = (Ending("any", (CancelMessage("second", "replaced"),)),)
    engine.publish(
        [publication("first", expires_in=1000, on_end=cancels), publication("second", expires_in=1500)]
    )
    clock.advance(2.0)
    engine.register("owner", 30)
    engine.claim("owner", ["q"], limit=1, seq=1)
    assert [engine.get(id).reason for id in ("first", "second")] == ["expired", "replaced"]  # type: ignore[union-attr]
