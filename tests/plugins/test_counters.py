"""What plug-ins count, for a process and for the whole app."""

from __future__ import annotations

import os

import pytest

from reliq import Reliq, Tally, counting
from reliq.errors import BrokerUnavailable
from reliq.ports import records
from reliq.testing.faults import Faulty, at
from reliq_idempotency import Idempotency, IdempotencyMismatch
from reliq_once import AlreadyQueued, QueueOnceMiddleware

DAY = 86_400


@pytest.fixture
def app(engine, clock):
    app = Reliq("shop", broker="memory://", middleware=[Idempotency(), QueueOnceMiddleware()])
    undo = app.use_engine(engine, clock)
    yield app
    undo()


@pytest.fixture
def tally():
    return Tally("test", ["seen", "lost"])


def today(tally, engine):
    return dict(next(iter(tally.read(engine).values()), {}))


def test_the_first_is_written_at_once_and_the_next_ones_together(app, engine, clock, tally):
    for _ in range(3):
        tally.add(app, "seen")
    assert today(tally, engine) == {"seen": 1} and tally.here == {"seen": 3}
    clock.advance(5)
    tally.add(app, "lost")
    assert today(tally, engine) == {"seen": 3, "lost": 1}


def test_a_clock_that_was_set_back_stops_no_count(app, engine, clock, tally):
    tally.add(app, "seen")
    clock.jump(-3600)
    tally.add(app, "seen")
    assert sum(counted["seen"] for counted in tally.read(engine).values()) == 2


def test_processes_add_up(engine, clock, tally):
    other = Tally("test", ["seen"])
    for one in (tally, other):
        app = Reliq("shop", broker="memory://")
        undo = app.use_engine(engine, clock)
        one.add(app, "seen")
        undo()
    assert today(tally, engine) == {"seen": 2}


def test_a_day_is_a_record_of_its_own_and_goes_after_eight(app, engine, clock, tally):
    tally.add(app, "seen")
    clock.advance(DAY)
    tally.add(app, "seen")
    days = tally.read(engine)
    assert list(days) == sorted(days, reverse=True) and len(days) == 2
    clock.advance(7 * DAY)
    assert len(tally.read(engine)) == 1
    clock.advance(DAY)
    engine.reap()
    assert sorted(records(engine, "count:")) == []


@pytest.mark.parametrize("fault", ["before", "after"])
def test_an_outage_fails_nothing_and_counts_nothing_twice(app, engine, clock, tally, fault):
    faulty = Faulty(engine, at(1, fault, operations=frozenset({"apply"})))
    undo = app.use_engine(faulty, clock)
    tally.add(app, "seen")
    assert faulty.faults == 1
    tally.write(app)
    clock.advance(5)
    tally.add(app, "seen")
    undo()
    assert today(tally, engine)["seen"] <= 2 and tally.here == {"seen": 2}


def test_what_was_certainly_not_written_is_written_later(app, engine, clock, tally):
    class Away:
        capabilities = engine.capabilities

        def apply(self, guards, effects):
            raise BrokerUnavailable("away", certain=True)

    undo = app.use_engine(Away(), clock)
    tally.add(app, "seen")
    undo()
    clock.advance(5)
    tally.add(app, "seen")
    assert today(tally, engine) == {"seen": 2}


def test_a_fork_does_not_write_what_its_parent_counted(app, engine, tally):
    tally.add(app, "seen")
    tally.add(app, "seen")
    counting._after_fork()
    tally.write(app)
    assert today(tally, engine) == {"seen": 1}


def test_what_is_left_is_written_when_the_process_ends_while_it_is_connected(app, engine, tally):
    tally.add(app, "seen")
    tally.add(app, "seen")
    counting._at_exit()
    assert today(tally, engine) == {"seen": 2}


def test_what_is_left_is_written_when_the_app_is_closed(tmp_path, tally):
    app = Reliq("shop", broker=f"sqlite:///{tmp_path}/a.db?durability=off")
    tally.add(app, "seen", "lost")
    tally.add(app, "seen")
    app.close()
    assert today(tally, app.broker) == {"seen": 2, "lost": 1}
    app.close()


def test_nothing_is_opened_only_to_count(tmp_path, tally):
    app = Reliq("shop", broker=f"sqlite:///{tmp_path}/new.db")
    tally._waiting[app] = counting.Counter(seen=1)
    counting._at_exit()
    assert os.listdir(tmp_path) == []


# --- the plug-ins ---


def test_conflicts_and_joins_of_all_processes_can_be_read(app, engine):
    once = app.middleware[1]
    work = app.task(name="work", once={})(lambda: None)
    work.delay()
    for _ in range(2):
        with pytest.raises(AlreadyQueued):
            work.delay()
    work.apply_async(once={"on_conflict": "join"})
    once.tally.write(app)
    assert today(once.tally, engine) == {"conflicts": 3, "joins": 1} and once.counters["conflicts"] == 3


def test_what_a_run_counts_is_counted_by_its_settlement(app, engine, clock):
    from reliq.testing import Harness

    once = app.middleware[1]
    work = app.task(name="work", once={"timeout": 60})(lambda: 7)
    with Harness(app, clock=clock, engine=engine) as harness:
        first = work.delay()
        clock.advance(3600)
        delivery = harness.claim().deliveries[0]
        harness.settle(delivery)
        harness.settle(delivery)  # stale, or repeated: nothing is counted again
        assert first.get(0) == 7 and today(once.tally, engine) == {"lapses": 1}
        assert any(said.startswith("1 of the locks of the last days lapsed") for said in once.checks())


def test_idempotency_counts_for_the_app(app, engine):
    idem = app.middleware[0]
    work = app.task(name="pay", idempotency={"keys": ["order"]})(lambda order, cents: None)
    work.delay(1, 5)
    work.delay(1, 5)
    with pytest.raises(IdempotencyMismatch, match="other arguments"):
        work.delay(1, 6)
    idem.tally.write(app)
    assert today(idem.tally, engine) == {"joins": 1, "mismatches": 1}
    assert any(said.startswith("1 of the sends") for said in idem.checks())
