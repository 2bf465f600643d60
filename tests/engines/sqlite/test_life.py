"""What a file keeps: numbers without gaps, tombstones, owners, and the cost of what waits."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from reliq.engines.sqlite import SqliteEngine
from reliq.policy.clock import VirtualClock
from reliq.ports.values import Publication, Settlement

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
