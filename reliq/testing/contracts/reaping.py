"""Reaping: what time alone brings about, in portions."""

from __future__ import annotations

import pytest

from reliq.ports import records
from reliq.ports.broker import Engine
from reliq.ports.values import Ended
from reliq.testing.contracts.base import Contract, MovableClock
from reliq.testing.contracts.bench import Bench, on_end, witness
from reliq.wire.message import CancelMessage, Put


class Reaping(Contract):
    # --- owners ---

    def test_an_owner_whose_lease_is_over_is_buried_as_if_all_had_begun(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        hand, delivery = bench.leased()
        clock.advance(30.001)
        ended = engine.reap()
        assert ended.owners == (hand.name,)
        assert [(m.id, m.state, m.reason) for m in ended.moved] == [(delivery.receipt.id, "due", "crashed")]
        assert bench.record(delivery.receipt.id).crashes == 1
        assert engine.owners() == []

    def test_an_owner_whose_lease_runs_is_left_alone(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        hand, delivery = bench.leased()
        clock.advance(29.999)
        assert engine.reap() == Ended()
        assert engine.held(hand.name) == [delivery.receipt]

    def test_an_owner_has_its_grace(self, bench: Bench, engine: Engine, clock: MovableClock) -> None:
        hand, _ = bench.leased()
        clock.advance(49.9)
        assert engine.reap(grace=20.0).owners == ()
        clock.advance(0.2)
        assert engine.reap(grace=20.0).owners == (hand.name,)

    def test_only_the_dead_are_buried(self, bench: Bench, engine: Engine, clock: MovableClock) -> None:
        dead, _ = bench.leased()
        clock.advance(20)
        live, delivery = bench.leased()
        clock.advance(20)
        assert engine.reap().owners == (dead.name,)
        assert live.settle(delivery).status == "applied"

    def test_a_clock_set_back_does_not_prolong_the_lease_of_the_dead(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        if not hasattr(clock, "jump"):
            pytest.skip("the clock cannot be set back")
        dead, _ = bench.leased()
        clock.jump(-3600)
        assert engine.reap().owners == ()
        live, delivery = bench.leased()
        clock.advance(25)
        assert engine.renew(live.name, 30).live
        clock.advance(6)
        assert engine.reap().owners == (dead.name,)
        assert live.settle(delivery).status == "applied"

    def test_a_message_that_kills_whole_hosts_is_quarantined(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        bench.publish("poison", max_crashes=2)
        for expected in (("due", "crashed"), ("failed", "crashed 2 times")):
            bench.hand().one()
            clock.advance(31)
            assert [(m.state, m.reason) for m in engine.reap().moved] == [expected]
            assert bench.ended("poison") == expected
            clock.advance(60)

    # --- due and expired ---

    def test_due_messages_become_ready(self, bench: Bench, engine: Engine, clock: MovableClock) -> None:
        for queue in ("a", "b"):
            bench.publish(queue=queue, delay=1_000)
        late = bench.publish(delay=9_000)
        clock.advance(1)
        assert engine.reap().moved == ()
        assert (engine.depth("a").ready, engine.depth("b").ready) == (1, 1)
        assert bench.state(late) == "due"

    def test_reaping_promotes_in_due_order(self, bench: Bench, engine: Engine, clock: MovableClock) -> None:
        bench.publish("second", delay=2_000)
        bench.publish("first", delay=1_000)
        clock.advance(2)
        engine.reap()
        assert bench.hand().ids() == ["first", "second"]

    def test_waiting_messages_that_expired_are_dropped(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        ready = bench.publish(expires_in=1_000)
        due = bench.publish(delay=9_000, expires_in=1_000)
        promoted = bench.publish(delay=500, expires_in=1_000)
        kept = bench.publish(expires_in=2_000)
        clock.advance(1)
        moved = {m.id: (m.state, m.reason) for m in engine.reap().moved}
        assert moved == dict.fromkeys([ready, due, promoted], ("dropped", "expired"))
        assert bench.state(kept) == "ready"

    def test_what_expires_may_end_what_expires_with_it(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        ends = (on_end("any", CancelMessage("second", "by the first"), witness("n")),)
        bench.publish("first", expires_in=1_000, on_end=ends)
        bench.publish("second", expires_in=1_500, on_end=ends)
        clock.advance(2)
        engine.reap()
        assert bench.ended("first") == ("dropped", "expired")
        assert bench.state("second") == "dropped"
        assert bench.value("n") == b"2"

    # --- ended ---

    def test_ended_records_are_purged_when_their_life_is_over(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        hand, short = bench.leased(keep=1_000)
        hand.settle(short)
        hand, failed = bench.leased(keep=1_000, keep_failed=9_000)
        hand.settle(failed, "failed")
        clock.advance(0.999)
        assert engine.reap().purged == 0
        clock.advance(0.001)
        assert engine.reap().purged == 1
        assert (bench.state(short.receipt.id), bench.state(failed.receipt.id)) == (None, "failed")
        clock.advance(8)
        assert engine.reap().purged == 1
        assert engine.list() == []

    def test_a_purge_takes_the_record_but_not_the_count(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        hand, delivery = bench.leased(keep=1_000)
        hand.settle(delivery)
        clock.advance(1)
        engine.reap()
        audit = engine.audit()
        assert (audit.accepted, audit.states["done"]) == (1, 1)

    def test_a_record_is_purged_in_the_millisecond_in_which_its_life_is_over(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        clock.advance((1_000 - clock.now_ms() % 1_000) / 1_000)  # a whole second
        for keep in (5_200, 5_800, 5_400, 5_600):
            hand, delivery = bench.leased(f"keep-{keep}", keep=keep)
            hand.settle(delivery)
        engine.remove("keep-5600")
        clock.advance(5.199)
        for milliseconds, purged in ((0, 0), (1, 1), (199, 0), (1, 1), (399, 0), (1, 1)):
            clock.advance(milliseconds / 1_000)
            assert engine.reap().purged == purged

    def test_records_whose_lives_ended_at_several_moments_are_purged_at_once(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        for keep in (1_000, 3_000, 7_000):
            hand, delivery = bench.leased(keep=keep)
            hand.settle(delivery, "dropped")
        clock.advance(8)
        ended = engine.reap()
        assert (ended.purged, ended.more) == (3, False)

    def test_a_live_message_is_never_purged(self, bench: Bench, engine: Engine, clock: MovableClock) -> None:
        id = bench.publish(keep=0, keep_failed=0)
        clock.advance(1_000_000)
        engine.reap()
        assert bench.state(id) == "ready"

    def test_a_replayed_message_is_not_purged_by_its_former_life(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        hand, delivery = bench.leased(keep_failed=1_000)
        hand.settle(delivery, "failed")
        engine.replay(delivery.receipt.id)
        clock.advance(5)
        engine.reap()
        assert bench.state(delivery.receipt.id) == "ready"

    # --- the store ---

    def test_lapsed_records_are_collected(self, bench: Bench, engine: Engine, clock: MovableClock) -> None:
        engine.store_put("short", b"1", ttl=1.0)
        engine.store_put("long", b"2", ttl=9.0)
        engine.store_put("for ever", b"3")
        clock.advance(1)
        engine.reap()
        assert [key for key, _ in sorted(records(engine, ""))] == ["for ever", "long"]

    def test_a_lapsed_record_whose_holder_is_leased_is_kept(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        hand, delivery = bench.leased()
        engine.apply([], [Put("lock", b"", ttl=1_000, holder=delivery.receipt.id)])
        clock.advance(20)
        engine.reap()
        assert bench.value("lock") == b""
        hand.settle(delivery, "retry")
        engine.reap()
        assert bench.value("lock") is None

    # --- portions ---

    def test_a_reap_stops_at_its_limit_and_says_that_there_is_more(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        for _ in range(10):
            bench.publish(expires_in=1_000)
        clock.advance(1)
        first = engine.reap(4)
        assert first.more
        assert 1 <= len(first.moved) < 10
        total, rounds = len(first.moved), 1
        while (ended := engine.reap(4)).more:
            total, rounds = total + len(ended.moved), rounds + 1
            assert rounds < 10
        assert total + len(ended.moved) == 10

    def test_a_reap_that_has_reached_its_limit_leaves_the_rest_to_the_next(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        for _ in range(3):
            for _ in range(5):
                bench.publish(queue="own")
            bench.hand().take("own")
        for n in range(20):
            bench.publish(f"expired-{n}", expires_in=1_000)
        clock.advance(31)
        first = engine.reap(4)
        assert first.more
        assert len(first.owners) < 3
        assert len(first.moved) < 20
        while engine.reap(4).more:
            pass
        assert engine.owners() == []
        assert {bench.state(f"expired-{n}") for n in range(20)} == {"dropped"}

    def test_a_reap_purges_about_as_many_as_its_limit(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        for keep in (1_000,) * 2 + (2_000,) * 10 + (3_000,):
            bench.cancel(bench.publish(keep=keep))
        clock.advance(4)
        first = engine.reap(2)
        assert (2 <= first.purged <= 4, first.more) == (True, True)
        assert engine.reap(20).purged == 13 - first.purged

    def test_portions_take_whatever_there_is_to_do(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        for n in range(6):
            bench.publish(delay=1_000)
            bench.publish(expires_in=1_000)
            hand, delivery = bench.leased(keep=1_000)
            hand.settle(delivery)
            engine.store_put(f"key-{n}", b"", ttl=1.0)
        clock.advance(31)
        rounds = 1
        while engine.reap(3).more:
            rounds += 1
            bench.check_books()
            assert rounds < 100
        assert rounds > 3
        assert (engine.depth("q").ready, engine.owners(), sorted(records(engine, ""))) == (6, [], [])
        assert [record.state for record in engine.list()].count("done") == 0

    def test_with_nothing_to_do_a_reap_does_nothing(self, bench: Bench, engine: Engine) -> None:
        bench.publish()
        assert engine.reap() == Ended()

    def test_reaping_twice_is_harmless(self, bench: Bench, engine: Engine, clock: MovableClock) -> None:
        _, delivery = bench.leased()
        clock.advance(31)
        engine.reap()
        before = bench.record(delivery.receipt.id)
        assert engine.reap() == Ended()
        assert bench.record(delivery.receipt.id) == before
