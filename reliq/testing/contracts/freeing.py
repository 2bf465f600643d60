"""What a message holds and removes when it is done is gone then, however it came to hold it, and only that.

What it lets live on for a while lives for that while, whatever becomes of the message's own record.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from reliq.ports import records
from reliq.ports.broker import Engine
from reliq.ports.values import Value
from reliq.testing.contracts.base import Contract, MovableClock
from reliq.testing.contracts.bench import Bench, on_end, verdict
from reliq.wire.message import Add, Effect, Ending, Put, Remove, Touch

ID = "m"
FREE = (on_end("done", Remove("lock", holder=ID)),)
TAKE = (Add("lock", b"1", holder=ID),)

Taking = Callable[[Bench, Engine], None]


def with_the_publish(bench: Bench, engine: Engine) -> None:
    bench.leased(ID, guards=TAKE, on_end=FREE)


def by_an_effect_of_the_publish(bench: Bench, engine: Engine) -> None:
    bench.leased(ID, effects=[Put("lock", b"1", holder=ID)], on_end=FREE)


def before_the_publish(bench: Bench, engine: Engine) -> None:
    engine.store_put("lock", b"1", holder=ID)
    bench.leased(ID, on_end=FREE)


def while_it_runs(bench: Bench, engine: Engine) -> None:
    bench.leased(ID, on_end=FREE)
    assert engine.store_add("lock", b"1", holder=ID)


def by_a_step_of_its_own(bench: Bench, engine: Engine) -> None:
    bench.leased(ID, on_end=FREE)
    assert bench.apply(guards=TAKE).ok


def anew_after_somebody_removed_it(bench: Bench, engine: Engine) -> None:
    bench.leased(ID, guards=TAKE, on_end=FREE)
    assert engine.store_drop("lock")
    engine.store_put("lock", b"1", holder=ID)


def and_swapped(bench: Bench, engine: Engine) -> None:
    bench.leased(ID, guards=TAKE, on_end=FREE)
    assert engine.store_swap("lock", b"2", version=1)


def and_prolonged(bench: Bench, engine: Engine) -> None:
    bench.leased(ID, guards=TAKE, on_end=FREE)
    assert engine.store_touch("lock", ttl=9.0)


TAKEN = [
    with_the_publish,
    by_an_effect_of_the_publish,
    before_the_publish,
    while_it_runs,
    by_a_step_of_its_own,
    anew_after_somebody_removed_it,
    and_swapped,
    and_prolonged,
]


class Freeing(Contract):
    @pytest.mark.parametrize("take", TAKEN)
    def test_what_it_held_is_gone(self, bench: Bench, engine: Engine, take: Taking) -> None:
        """... for whoever looks, lists, adds or swaps; and stays gone when the id is looked at later."""
        take(bench, engine)
        assert bench.value("lock") is not None
        self._done(bench, engine)
        assert bench.value("lock") is None
        assert list(records(engine, "")) == []
        assert not engine.store_touch("lock", ttl=5.0)
        assert not engine.store_drop("lock")
        assert engine.store_swap("lock", b"new", version=0)
        assert engine.store_get("lock") == Value(b"new", 1, None, None)

    @pytest.mark.parametrize("take", TAKEN)
    def test_the_next_message_takes_it(self, bench: Bench, engine: Engine, take: Taking) -> None:
        take(bench, engine)
        assert bench.offer("next", guards=[Add("lock", holder="next")]).status == "refused"
        self._done(bench, engine)
        bench.publish("next", guards=[Add("lock", b"n", holder="next")])
        assert engine.store_get("lock") == Value(b"n", 1, None, "next")

    def test_what_another_has_taken_over_stays(self, bench: Bench, engine: Engine) -> None:
        bench.leased(ID, guards=TAKE, on_end=FREE)
        engine.store_put("lock", b"another", holder="another")
        self._done(bench, engine)
        assert bench.value("lock") == b"another"

    def test_what_is_given_to_it_after_its_end_stays(self, bench: Bench, engine: Engine) -> None:
        bench.leased(ID, guards=TAKE, on_end=FREE)
        self._done(bench, engine)
        engine.store_put("lock", b"late", holder=ID)
        assert engine.store_get("lock") == Value(b"late", 1, None, ID)

    def test_what_it_holds_besides_stays(self, bench: Bench, engine: Engine) -> None:
        bench.leased(ID, guards=[*TAKE, Add("other", b"1", holder=ID)], on_end=FREE)
        self._done(bench, engine)
        assert dict(records(engine, "")) == {"other": Value(b"1", 1, None, ID)}

    @pytest.mark.parametrize(
        ("effects", "there"),
        [
            ([Remove("lock"), Put("lock", b"2")], b"2"),
            ([Put("lock", b"2", holder=ID)], None),
            ([Put("lock", b"2", holder="another")], None),
            ([Touch("lock", ttl=1_000)], None),
            ([Remove("lock"), Put("lock", b"2", holder="another")], b"2"),
        ],
    )
    def test_the_effects_of_its_settlement_meet_what_it_holds(
        self, bench: Bench, effects: list[Effect], there: bytes | None
    ) -> None:
        """It is freed after them."""
        hand, delivery = bench.leased(ID, guards=TAKE, on_end=FREE)
        hand.settle(delivery, effects=effects)
        assert bench.value("lock") == there

    @pytest.mark.parametrize(
        ("free", "there"),
        [
            (Remove("lock"), None),
            (Remove("lock", holder="another"), None),
            (Remove("lock", holder=ID), b"1"),
            (Touch("lock", -1), None),
            (Touch("lock", -1, holder=ID), b"1"),
        ],
    )
    def test_what_another_holds_goes_where_it_is_told_to(
        self, bench: Bench, engine: Engine, free: Remove | Touch, there: bytes | None
    ) -> None:
        engine.store_put("lock", b"1", holder="another")
        bench.leased(ID, on_end=(on_end("done", free),))
        self._done(bench, engine)
        assert bench.value("lock") == there

    @pytest.mark.parametrize(("value", "there"), [(b"1", None), (b"2", b"1")])
    def test_what_it_holds_goes_only_as_long_as_it_is_the_same(
        self, bench: Bench, engine: Engine, value: bytes, there: bytes | None
    ) -> None:
        bench.leased(ID, guards=TAKE, on_end=(on_end("done", Remove("lock", holder=ID, value=value)),))
        self._done(bench, engine)
        assert bench.value("lock") == there

    @pytest.mark.parametrize("order", [1, -1])
    def test_what_it_holds_goes_also_when_more_is_done(
        self, bench: Bench, engine: Engine, order: int
    ) -> None:
        ends = [on_end("done", Remove("lock", holder=ID)), on_end("done", Put("more", b"2"))]
        bench.leased(ID, guards=TAKE, on_end=tuple(ends[::order]))
        self._done(bench, engine)
        assert (bench.value("lock"), bench.value("more")) == (None, b"2")

    @pytest.mark.parametrize("order", [1, -1])
    def test_what_is_removed_does_not_live_on(self, bench: Bench, engine: Engine, order: int) -> None:
        effects: list[Effect] = [Remove("lock", holder=ID), Touch("lock", 5_000, holder=ID)]
        bench.leased(ID, guards=TAKE, on_end=(on_end("done", *effects[::order]),))
        self._done(bench, engine)
        assert bench.value("lock") is None

    def test_effects_of_being_done_keep_their_order(self, bench: Bench) -> None:
        ends = (on_end("done", Remove("lock", holder=ID), Put("lock", b"2", holder=ID)),)
        hand, delivery = bench.leased(ID, guards=TAKE, on_end=ends)
        hand.settle(delivery)
        assert bench.value("lock") == b"2"

    def test_a_failed_one_holds_what_only_being_done_frees(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        """Also when there is no record of it any more."""
        hand, delivery = bench.leased(ID, guards=TAKE, on_end=FREE, keep_failed=1_000)
        hand.settle(delivery, "failed")
        assert bench.value("lock") == b"1"
        clock.advance(2)
        engine.reap()
        assert engine.get(ID) is None
        assert engine.store_get("lock") == Value(b"1", 1, None, ID)

    def test_a_replayed_one_frees_it_at_its_second_end(self, bench: Bench, engine: Engine) -> None:
        hand, delivery = bench.leased(ID, guards=TAKE, on_end=FREE)
        hand.settle(delivery, "failed")
        assert engine.replay(ID)
        self._done(bench, engine)
        assert bench.value("lock") is None

    def test_it_does_not_come_back_with_its_id(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        """The record of the done one has gone, and its window is over."""
        bench.leased(ID, guards=TAKE, on_end=FREE, keep=1_000)
        self._done(bench, engine)
        clock.advance(61)
        engine.reap()
        assert engine.get(ID) is None
        bench.leased(ID, on_end=FREE, queue="again")
        assert bench.value("lock") is None

    @pytest.mark.parametrize("way", ["removed", "purged"])
    def test_it_does_not_come_back_when_the_record_goes(
        self, bench: Bench, engine: Engine, clock: MovableClock, way: str
    ) -> None:
        bench.leased(ID, guards=TAKE, on_end=FREE, keep=1_000)
        self._done(bench, engine)
        if way == "removed":
            assert engine.remove(ID)
        else:
            clock.advance(2)
            engine.reap()
        assert engine.get(ID) is None
        assert bench.value("lock") is None
        assert list(records(engine, "")) == []

    # --- what lives on ---

    @pytest.mark.parametrize("keep", [1_000, 1_000_000], ids=["purged before", "kept"])
    @pytest.mark.parametrize("ttl", [None, 9_000, 3_000], ids=["for ever", "longer", "shorter"])
    def test_what_lives_on_does_so_from_the_end(
        self, bench: Bench, engine: Engine, clock: MovableClock, keep: int, ttl: int | None
    ) -> None:
        """`ttl`: what it had before."""
        live_on = (on_end("done", Touch("lock", 5_000, holder=ID)),)
        bench.leased(ID, guards=[Add("lock", b"1", ttl=ttl, holder=ID)], on_end=live_on, keep=keep)
        clock.advance(2)
        self._done(bench, engine)
        there = Value(b"1", 1, clock.now_ms() + 5_000, ID)
        taken = Add("lock", holder="next", or_dead=False)
        for _ in range(3):
            assert engine.store_get("lock") == there
            assert dict(records(engine, "")) == {"lock": there}
            assert bench.offer("next", guards=[taken]).status == "refused"
            clock.advance(1.6)
            engine.reap()
        assert (bench.state(ID) is None) == (keep == 1_000)
        assert engine.store_get("lock") == there
        clock.advance(0.2)
        assert engine.store_get("lock") is None
        engine.reap()
        assert list(records(engine, "")) == []

    def test_what_lives_on_survives_a_purge_in_a_step_that_looked_at_it(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        """One sweep drops an expired message, which held it before and frees what is its own, and purges the holder."""
        frees = on_end("any", Remove("lock", holder="before"))
        lock = Add("lock", ttl=1_000, holder="before")
        bench.publish("before", delay=4_000, expires_in=4_000, guards=[lock], on_end=(frees,))
        clock.advance(2)
        live_on = on_end("done", Touch("lock", 86_400_000, holder=ID))
        hand, delivery = bench.leased(ID, guards=TAKE, on_end=(live_on,), keep=1_000)
        hand.settle(delivery)
        there = Value(b"1", 1, clock.now_ms() + 86_400_000, ID)
        clock.advance(3)
        engine.reap()
        assert (bench.state("before"), bench.state(ID)) == ("dropped", None)
        assert engine.store_get("lock") == there

    @pytest.mark.parametrize("ttl", [0, -5])
    def test_what_lives_on_for_no_time_is_gone(self, bench: Bench, engine: Engine, ttl: int) -> None:
        bench.leased(ID, guards=TAKE, on_end=(on_end("done", Touch("lock", ttl, holder=ID)),))
        self._done(bench, engine)
        assert bench.value("lock") is None

    def test_what_lives_on_can_be_changed_then(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        live_on = (on_end("done", Touch("lock", 5_000, holder=ID)),)
        bench.leased(ID, guards=TAKE, on_end=live_on)
        self._done(bench, engine)
        ends = clock.now_ms() + 5_000
        assert not engine.store_add("lock", b"2")
        assert engine.store_swap("lock", b"2", version=1)
        assert engine.store_get("lock") == Value(b"2", 2, None, ID)
        assert engine.store_touch("lock", ttl=5.0)
        assert engine.store_get("lock") == Value(b"2", 2, ends, ID)

    def test_what_a_settlement_completes_lives_on(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        live_on = (on_end("done", Touch("lock", 5_000, holder=ID)),)
        hand, delivery = bench.leased(ID, guards=TAKE, on_end=live_on)
        hand.settle(delivery, effects=[Put("lock", b"result", ttl=5_000, holder=ID)])
        there = Value(b"result", 2, clock.now_ms() + 5_000, ID)
        assert engine.store_get("lock") == there
        clock.advance(4)
        engine.reap()
        assert engine.store_get("lock") == there

    @pytest.mark.parametrize(
        ("ends", "life"),
        [
            ((), 7_000),
            ((on_end("failed", Remove("lock", holder=ID)),), 7_000),
            ((on_end("done", Touch("lock", 5_000, holder=ID)),), 5_000),
            ((on_end("done", Touch("lock", 5_000, holder=ID), Put("more")),), 5_000),
            ((on_end("done", Touch("other", 7_000, holder=ID)),), 7_000),
        ],
    )
    def test_what_a_settlement_completes_has_the_life_that_it_is_given_last(
        self, bench: Bench, engine: Engine, clock: MovableClock, ends: tuple[Ending, ...], life: int
    ) -> None:
        hand, delivery = bench.leased(ID, guards=TAKE, on_end=ends)
        hand.settle(delivery, effects=[Put("lock", b"result", ttl=7_000, holder=ID)])
        assert engine.store_get("lock") == Value(b"result", 2, clock.now_ms() + life, ID)
        assert (bench.value("more") is None) == (len(ends) == 0 or len(ends[0].effects) == 1)

    @pytest.mark.parametrize("another", ["n", "mm", None])
    def test_what_another_has_taken_over_is_not_completed(
        self, bench: Bench, engine: Engine, another: str | None
    ) -> None:
        """What nobody holds is."""
        live_on = (on_end("done", Touch("lock", 5_000, holder=ID)),)
        hand, delivery = bench.leased(ID, guards=TAKE, on_end=live_on)
        engine.store_put("lock", b"another", holder=another)
        hand.settle(delivery, effects=[Put("lock", b"result", ttl=5_000, holder=ID)])
        assert bench.value("lock") == (b"result" if another is None else b"another")

    def test_what_somebody_removed_is_completed_anew(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        live_on = (on_end("done", Touch("lock", 5_000, holder=ID)),)
        hand, delivery = bench.leased(ID, guards=TAKE, on_end=live_on)
        assert engine.store_drop("lock")
        hand.settle(delivery, effects=[Put("lock", b"result", ttl=5_000, holder=ID)])
        assert engine.store_get("lock") == Value(b"result", 1, clock.now_ms() + 5_000, ID)

    def _done(self, bench: Bench, engine: Engine) -> None:
        """Whoever holds it settles it, within a claim, as workers do."""
        record = bench.record(ID)
        if record.owner is None:
            hand = bench.hand()
            delivery = hand.one(record.queue)
            hand.settle(delivery)
            return
        (receipt,) = engine.held(record.owner)
        claimed = engine.claim(record.owner, ["empty"], limit=1, seq=9, settlements=[verdict(receipt)])
        assert [settled.status for settled in claimed.settled] == ["applied"]
