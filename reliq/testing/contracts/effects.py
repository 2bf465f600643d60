"""Effects: applied with the step they belong to; one that finds nothing it may act on is skipped and counted."""

from __future__ import annotations

import pytest

from reliq.ports import records
from reliq.ports.broker import Engine
from reliq.ports.values import Value
from reliq.testing.contracts.base import Contract, MovableClock
from reliq.testing.contracts.bench import Bench, on_end, witness
from reliq.wire.message import CancelMessage, Incr, IndexPut, IndexRemove, NotLeased, Put, Remove, Touch


class Effects(Contract):
    # --- with a publish ---

    def test_the_effects_of_a_publish_apply_when_it_is_accepted(self, bench: Bench, engine: Engine) -> None:
        bench.publish("m", effects=[Put("key", b"1", holder="m"), Incr("n"), IndexPut("i", "m", 7)])
        assert engine.store_get("key") == Value(b"1", 1, None, "m")
        assert bench.value("n") == b"1"
        assert engine.index_due("i", before=7) == [("m", 7)]

    def test_from_due_counts_from_the_due_time_of_the_message(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        bench.publish(delay=5_000, effects=[Put("a", ttl=1_000, from_due=True), Put("b", ttl=1_000)])
        assert [v.expires for _, v in sorted(records(engine, ""))] == [
            clock.now_ms() + 6_000,
            clock.now_ms() + 1_000,
        ]

    # --- with a settlement ---

    def test_the_effects_of_a_settlement_apply_with_it(self, bench: Bench) -> None:
        hand, delivery = bench.leased()
        settled = hand.settle(delivery, effects=[Put("a", b"1"), Remove("b"), Incr("a")])
        assert (settled.status, settled.skipped) == ("applied", 1)
        assert bench.value("a") == b"2"

    def test_on_a_retry_from_due_counts_from_the_new_due_time(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        hand, delivery = bench.leased("m", effects=[Put("lock", b"1", ttl=1_000, holder="m")])
        hand.settle(
            delivery, "retry", after=9_000, effects=[Touch("lock", ttl=2_000, holder="m", from_due=True)]
        )
        assert engine.store_get("lock") == Value(b"1", 1, clock.now_ms() + 11_000, "m")

    def test_on_an_end_from_due_counts_from_now(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        hand, delivery = bench.leased()
        clock.advance(3)
        hand.settle(delivery, effects=[Put("key", ttl=1_000, from_due=True)])
        value = engine.store_get("key")
        assert value is not None
        assert value.expires == clock.now_ms() + 1_000

    def test_a_settlements_own_effects_apply_before_those_of_on_end(self, bench: Bench) -> None:
        hand, delivery = bench.leased(on_end=(on_end("done", Put("key", b"on_end")),))
        hand.settle(delivery, effects=[Put("key", b"settlement")])
        assert bench.value("key") == b"on_end"

    def test_skipped_effects_of_on_end_are_not_counted(self, bench: Bench) -> None:
        """Nobody waits for them, and an engine need not look whether there is anything that goes with its message."""
        hand, delivery = bench.leased(on_end=(on_end("done", Remove("absent"), Put("a")),))
        assert hand.settle(delivery, effects=[Touch("absent")]).skipped == 1

    # --- put ---

    def test_put_writes_whatever_stands_there(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        engine.store_put("key", b"1", holder="somebody")
        assert bench.apply(Put("key", b"2", ttl=1_000)).skipped == 0
        assert engine.store_get("key") == Value(b"2", 2, clock.now_ms() + 1_000, None)

    def test_put_with_a_holder_writes_only_over_nobodys_or_its_own(
        self, bench: Bench, engine: Engine
    ) -> None:
        engine.store_put("nobody's", b"1")
        engine.store_put("mine", b"1", holder="me")
        engine.store_put("yours", b"1", holder="you")
        keys = ("absent", "mine", "nobody's", "yours")
        assert bench.apply(*(Put(key, b"2", holder="me") for key in keys)).skipped == 1
        values = dict(sorted(records(engine, "")))
        assert [values[key].data for key in keys] == [b"2", b"2", b"2", b"1"]
        assert [values[key].holder for key in keys] == ["me", "me", "me", "you"]

    def test_put_with_a_holder_writes_over_a_lapsed_record(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        engine.store_put("key", b"1", ttl=1.0, holder="you")
        clock.advance(1)
        assert bench.apply(Put("key", b"2", holder="me")).skipped == 0
        assert engine.store_get("key") == Value(b"2", 1, None, "me")

    # --- remove ---

    def test_remove_takes_the_record_away(self, bench: Bench, engine: Engine) -> None:
        engine.store_put("key", b"1", holder="somebody")
        assert bench.apply(Remove("key")).skipped == 0
        assert bench.apply(Remove("key")).skipped == 1

    def test_remove_by_holder_or_value_takes_only_what_fits(self, bench: Bench, engine: Engine) -> None:
        engine.store_put("key", b"1", holder="you")
        misfits = [
            Remove("key", holder="me"),
            Remove("key", value=b"2"),
            Remove("key", holder="you", value=b""),
        ]
        for misfit in misfits:
            assert bench.apply(misfit).skipped == 1
        assert bench.value("key") == b"1"
        assert bench.apply(Remove("key", holder="you", value=b"1")).skipped == 0
        assert bench.value("key") is None

    # --- touch ---

    def test_touch_gives_a_new_life_and_keeps_the_rest(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        engine.store_put("key", b"1", ttl=1.0, holder="me")
        assert bench.apply(Touch("key", ttl=5_000, holder="me")).skipped == 0
        assert engine.store_get("key") == Value(b"1", 1, clock.now_ms() + 5_000, "me")
        assert bench.apply(Touch("key", ttl=9_000, holder="you"), Touch("absent", ttl=9_000)).skipped == 2
        assert engine.store_get("key") == Value(b"1", 1, clock.now_ms() + 5_000, "me")
        assert bench.apply(Touch("key")).skipped == 0
        assert engine.store_get("key") == Value(b"1", 1, None, "me")

    # --- incr ---

    def test_incr_adds_and_gives_a_ttl_to_a_new_record_only(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        expires = clock.now_ms() + 5_000
        bench.apply(Incr("n", 3, ttl=5_000))
        clock.advance(1)
        bench.apply(Incr("n", -5, ttl=5_000))
        assert engine.store_get("n") == Value(b"-2", 2, expires, None)

    def test_incr_of_something_else_than_an_integer_is_skipped(self, bench: Bench, engine: Engine) -> None:
        engine.store_put("n", b"four")
        assert bench.apply(Incr("n")).skipped == 1
        assert bench.value("n") == b"four"

    # --- messages ---

    @pytest.mark.parametrize("delay", [None, 5_000], ids=["ready", "due"])
    def test_a_waiting_message_is_cancelled(self, bench: Bench, delay: int | None) -> None:
        bench.publish("m", delay=delay, on_end=(on_end("dropped", witness("n")),))
        assert bench.apply(CancelMessage("m", "replaced")).skipped == 0
        assert bench.ended("m") == ("dropped", "replaced")
        assert bench.value("n") == b"1"
        assert bench.apply(CancelMessage("m")).skipped == 1

    def test_a_leased_message_is_not_cancelled_by_an_effect(self, bench: Bench) -> None:
        hand, delivery = bench.leased("m")
        assert bench.apply(CancelMessage("m"), CancelMessage("never")).skipped == 2
        assert not bench.record("m").cancel
        assert hand.settle(delivery).status == "applied"

    def test_the_newest_replaces_the_one_that_waits_in_one_step(self, bench: Bench) -> None:
        bench.publish("old")
        bench.publish("new", guards=[NotLeased("old")], effects=[CancelMessage("old", "replaced")])
        assert bench.ended("old") == ("dropped", "replaced")
        assert bench.hand().ids() == ["new"]

    def test_the_newest_does_not_replace_one_that_runs(self, bench: Bench) -> None:
        hand, delivery = bench.leased("old")
        answer = bench.offer("new", guards=[NotLeased("old")], effects=[CancelMessage("old")])
        assert answer.status == "refused"
        assert hand.settle(delivery).status == "applied"

    # --- indexes ---

    def test_what_one_step_puts_into_an_index_it_does_not_find_under_another_name(
        self, bench: Bench, engine: Engine
    ) -> None:
        assert bench.apply(IndexPut("i", "a", 1), IndexRemove("i", "b")).skipped == 1
        assert bench.apply(IndexPut("i", "c", 1), IndexRemove("i", "c"), IndexRemove("i", "c")).skipped == 1
        assert engine.index_due("i", before=1) == [("a", 1)]

    def test_an_index_moves_with_its_step(self, bench: Bench, engine: Engine) -> None:
        hand, delivery = bench.leased(effects=[IndexPut("i", "m", 1)])
        assert engine.index_due("i", before=1) == [("m", 1)]
        hand.settle(delivery, effects=[IndexRemove("i", "m"), IndexRemove("i", "m")])
        assert engine.index_due("i", before=1) == []
