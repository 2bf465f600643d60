"""Owners: registered, renewed, and what they hold or give back."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from reliq.errors import BrokerRefused
from reliq.ports.broker import Engine
from reliq.testing.contracts.base import Contract, MovableClock
from reliq.testing.contracts.bench import Bench


class Owning(Contract):
    # --- register and renew ---

    def test_a_registered_owner_is_listed(self, bench: Bench, engine: Engine, clock: MovableClock) -> None:
        engine.register("one", 30.0, {"host": "h", "pid": "7"})
        clock.advance(1)
        engine.register("two", 5.0)
        one, two = engine.owners()
        assert (one.owner, one.state, one.held, dict(one.about)) == (
            "one",
            "live",
            0,
            {"host": "h", "pid": "7"},
        )
        assert (one.since, one.expires) == (clock.now_ms() - 1_000, clock.now_ms() + 29_000)
        assert (two.owner, two.expires, dict(two.about)) == ("two", clock.now_ms() + 5_000, {})

    def test_registering_again_after_a_lost_reply_is_harmless(self, bench: Bench, engine: Engine) -> None:
        hand, delivery = bench.leased()
        engine.register(hand.name, 30.0)
        assert engine.held(hand.name) == [delivery.receipt]
        assert len(engine.owners()) == 1

    def test_renewing_gives_a_new_lease_from_now(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        hand = bench.hand(lease=10)
        clock.advance(8)
        assert engine.renew(hand.name, 10.0).live
        (owner,) = engine.owners()
        assert owner.expires == clock.now_ms() + 10_000

    def test_an_expired_owner_may_renew_until_it_is_reaped(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        hand, delivery = bench.leased()
        clock.advance(300)
        assert engine.renew(hand.name, 30.0).live
        engine.reap()
        assert hand.settle(delivery).status == "applied"

    def test_a_buried_owner_may_not_renew(self, bench: Bench, engine: Engine) -> None:
        hand = bench.hand()
        hand.crash()
        assert not engine.renew(hand.name, 30.0).live
        assert engine.owners() == []

    def test_a_buried_owner_may_not_register_again(self, bench: Bench, engine: Engine) -> None:
        hand, delivery = bench.leased()
        hand.crash()
        with pytest.raises(BrokerRefused):
            engine.register(hand.name, 30.0)
        assert engine.owners() == []
        assert hand.settle(delivery).status == "stale"

    def test_a_buried_owner_is_refused_for_a_minute_and_then_forgotten(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        hand = bench.hand()
        hand.crash()
        clock.advance(59.999)
        engine.reap()
        with pytest.raises(BrokerRefused):
            engine.register(hand.name, 30.0)
        clock.advance(1)
        engine.reap()
        engine.register(hand.name, 30.0)
        assert [owner.owner for owner in engine.owners()] == [hand.name]

    def test_registering_again_forgets_neither_the_beginning_nor_the_last_claim(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        since = clock.now_ms()
        bench.publish()
        hand = bench.hand()
        delivery = hand.one()
        clock.advance(1)
        engine.register(hand.name, 30.0)
        assert [owner.since for owner in engine.owners()] == [since]
        bench.publish()
        assert hand.again().deliveries == (delivery,)

    def test_a_reaped_owner_may_not_renew(self, bench: Bench, engine: Engine, clock: MovableClock) -> None:
        hand = bench.hand(lease=3)
        clock.advance(4)
        engine.reap()
        assert not engine.renew(hand.name, 30.0).live

    def test_an_unknown_owner_may_not_renew(self, bench: Bench, engine: Engine) -> None:
        assert not engine.renew("nobody", 30.0).live
        assert engine.owners() == []

    def test_a_renewal_tells_what_was_asked_to_stop(self, bench: Bench, engine: Engine) -> None:
        ids = [bench.publish() for _ in range(3)]
        hand = bench.hand()
        hand.take()
        assert engine.renew(hand.name, 30.0).stop == ()
        bench.cancel(ids[1])
        assert engine.renew(hand.name, 30.0).stop == (ids[1],)
        assert engine.renew(hand.name, 30.0).stop == (ids[1],)
        assert engine.renew(bench.hand().name, 30.0).stop == ()

    @pytest.mark.parametrize("leave", ["done", "retry", "given back", "died"])
    def test_a_renewal_does_not_tell_of_what_left_its_owner(
        self, bench: Bench, engine: Engine, leave: str
    ) -> None:
        hand, delivery = bench.leased()
        bench.cancel(delivery.receipt.id)
        if leave == "given back":
            hand.give_back(delivery)
        elif leave == "died":
            hand.crash()
        else:
            hand.settle(delivery, "done" if leave == "done" else "retry")
        assert engine.renew(hand.name, 30.0).stop == ()

    # --- held ---

    def test_held_gives_the_receipts_of_all_that_is_leased(self, bench: Bench, engine: Engine) -> None:
        for _ in range(3):
            bench.publish()
        hand = bench.hand()
        receipts = [delivery.receipt for delivery in hand.take()]
        assert sorted(engine.held(hand.name), key=lambda r: r.id) == sorted(receipts, key=lambda r: r.id)
        (owner,) = engine.owners()
        assert owner.held == 3

    def test_held_has_the_order_in_which_it_was_given(self, bench: Bench, engine: Engine) -> None:
        hand = bench.hand()
        given = []
        for priority in (0, 9, 5):
            bench.publish(priority=priority)
            bench.publish(priority=priority + (priority < 9))
            given += [delivery.receipt for delivery in hand.take()]
        assert len(given) == 6
        assert engine.held(hand.name) == given

    def test_held_forgets_what_was_settled_given_back_or_taken_back(
        self, bench: Bench, engine: Engine
    ) -> None:
        for _ in range(4):
            bench.publish()
        hand = bench.hand()
        done, retried, back, kept = hand.take()
        hand.settle(done)
        hand.settle(retried, "retry")
        hand.give_back(back)
        assert engine.held(hand.name) == [kept.receipt]
        hand.crash()
        assert engine.held(hand.name) == []

    def test_nobody_holds_nothing(self, bench: Bench, engine: Engine) -> None:
        assert engine.held("nobody") == []

    # --- give back ---

    def test_what_is_given_back_is_ready_and_its_attempt_refunded(self, bench: Bench) -> None:
        hand, delivery = bench.leased()
        assert hand.give_back(delivery) == 1
        record = bench.record(delivery.receipt.id)
        assert (record.state, record.attempt, record.owner, record.crashes) == ("ready", 0, None, 0)
        assert bench.hand().one("own").attempt == 1

    def test_what_is_given_back_stands_at_its_old_place(self, bench: Bench) -> None:
        ids = [bench.publish() for _ in range(4)]
        hand = bench.hand()
        one, two = hand.take(limit=2)
        hand.give_back(two)
        hand.give_back(one)
        assert bench.hand().ids() == ids

    def test_a_promoted_message_is_given_back_to_its_new_place(
        self, bench: Bench, clock: MovableClock
    ) -> None:
        bench.publish("delayed", delay=1_000)
        bench.publish("first")
        clock.advance(1)
        hand = bench.hand()
        deliveries = hand.take()
        bench.publish("last")
        hand.give_back(*deliveries)
        assert bench.hand().ids() == ["first", "delayed", "last"]

    def test_giving_back_twice_counts_once(self, bench: Bench) -> None:
        hand, delivery = bench.leased()
        assert hand.give_back(delivery, delivery) == 1
        assert hand.give_back(delivery) == 0
        assert bench.record(delivery.receipt.id).attempt == 0

    def test_stale_receipts_are_skipped(self, bench: Bench, engine: Engine) -> None:
        _, delivery = bench.leased()
        settled, done = bench.leased(queue="done")
        settled.settle(done)
        stale = [
            replace(delivery.receipt, fence=delivery.receipt.fence - 1),
            replace(delivery.receipt, owner="nobody"),
            replace(delivery.receipt, id="never"),
            done.receipt,
        ]
        assert [engine.give_back([receipt]) for receipt in stale] == [0] * len(stale)
        assert engine.give_back([*stale, delivery.receipt]) == 1
        assert bench.state(done.receipt.id) == "done"

    def test_a_delivery_given_back_and_claimed_by_another_is_not_taken_from_it(
        self, bench: Bench, engine: Engine
    ) -> None:
        hand, delivery = bench.leased()
        hand.give_back(delivery)
        other = bench.hand()
        again = other.one("own")
        assert hand.give_back(delivery) == 0
        assert engine.held(other.name) == [again.receipt]

    def test_what_was_asked_to_stop_is_dropped_when_it_is_given_back(
        self, bench: Bench, engine: Engine
    ) -> None:
        hand, delivery = bench.leased()
        bench.cancel(delivery.receipt.id)
        assert hand.give_back(delivery) == 1
        assert bench.ended(delivery.receipt.id) == ("dropped", "cancelled")

    def test_a_give_back_is_told_in_the_story(self, bench: Bench) -> None:
        hand, delivery = bench.leased()
        hand.give_back(delivery)
        story = bench.record(delivery.receipt.id).transitions
        assert [step.to for step in story] == ["ready", "leased", "given_back"]
        assert story[-1].owner == hand.name
