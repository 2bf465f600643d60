"""A message that crashed a process is claimed by one that holds nothing else, so that innocents are safe."""

from __future__ import annotations

import pytest

from reliq.ports.broker import Engine
from reliq.testing.contracts.base import Contract, MovableClock
from reliq.testing.contracts.bench import Bench, verdict


class Charged(Contract):
    @pytest.fixture
    def charged(self, bench: Bench, clock: MovableClock) -> str:
        """The id of a message with one charge that can be claimed now."""
        id = bench.publish("charged")
        hand = bench.hand()
        hand.crash(hand.one())
        clock.advance(1)
        return id

    def test_a_charged_message_is_the_only_delivery_and_says_so(self, bench: Bench, charged: str) -> None:
        bench.publish()
        (delivery,) = bench.hand().take(limit=10)
        assert (delivery.receipt.id, delivery.alone, delivery.crashes, delivery.attempt) == (
            charged,
            True,
            1,
            2,
        )
        assert bench.record(charged).alone

    def test_a_limit_of_0_gives_no_charged_message_either(self, bench: Bench, charged: str) -> None:
        assert bench.hand().claim(limit=0).deliveries == ()
        assert bench.hand().one().receipt.id == charged

    def test_an_owner_that_holds_something_is_not_given_a_charged_message(
        self, bench: Bench, charged: str, engine: Engine
    ) -> None:
        hand = bench.hand()
        bench.publish("held", queue="other")
        hand.one("other")
        bench.publish("plain")
        claimed = hand.claim()
        assert [delivery.receipt.id for delivery in claimed.deliveries] == ["plain"]
        assert claimed.wants_alone
        assert bench.state(charged) in ("ready", "due")

    def test_wants_alone_is_said_with_nothing_to_deliver_too(self, bench: Bench, charged: str) -> None:
        hand = bench.hand()
        bench.publish(queue="other")
        hand.one("other")
        claimed = hand.claim()
        assert (claimed.deliveries, claimed.wants_alone) == ((), True)

    def test_wants_alone_is_not_said_without_a_charged_message_that_is_ready(self, bench: Bench) -> None:
        bench.publish()
        hand = bench.hand()
        assert not hand.claim().wants_alone
        assert not hand.claim().wants_alone

    def test_wants_alone_is_not_said_for_other_queues(self, bench: Bench, charged: str) -> None:
        hand = bench.hand()
        bench.publish(queue="other")
        hand.one("other")
        assert not hand.claim("other").wants_alone

    def test_an_owner_that_holds_a_charged_message_is_given_nothing_else(
        self, bench: Bench, charged: str
    ) -> None:
        hand = bench.hand()
        delivery = hand.one()
        plain = bench.publish()
        assert hand.ids() == []
        assert hand.settle(delivery).status == "applied"
        assert hand.ids() == [plain]

    def test_settling_in_the_same_call_makes_room_for_a_charged_message(
        self, bench: Bench, charged: str
    ) -> None:
        hand = bench.hand()
        bench.publish(queue="other")
        held = hand.one("other")
        claimed = hand.claim(settlements=[verdict(held)])
        assert [delivery.receipt.id for delivery in claimed.deliveries] == [charged]
        assert not claimed.wants_alone

    def test_settling_a_charged_message_in_the_same_call_makes_room_for_others(
        self, bench: Bench, charged: str
    ) -> None:
        hand = bench.hand()
        delivery = hand.one()
        plain = [bench.publish() for _ in range(3)]
        claimed = hand.claim(settlements=[verdict(delivery)])
        assert [delivery.receipt.id for delivery in claimed.deliveries] == plain

    def test_an_empty_owner_is_offered_the_charged_message_before_any_other(
        self, bench: Bench, charged: str, engine: Engine
    ) -> None:
        bench.publish(queue="first", priority=9 if engine.capabilities.priorities else 0)
        assert bench.hand().ids("first", "q") == [charged]

    def test_a_charged_message_stays_alone_after_a_retry(
        self, bench: Bench, charged: str, clock: MovableClock
    ) -> None:
        hand = bench.hand()
        hand.settle(hand.one(), "retry")
        bench.publish()
        (delivery,) = hand.take()
        assert (delivery.receipt.id, delivery.alone) == (charged, True)

    def test_a_charged_message_stays_alone_after_it_is_given_back(self, bench: Bench, charged: str) -> None:
        hand = bench.hand()
        hand.give_back(hand.one())
        bench.publish()
        assert hand.ids() == [charged]

    def test_charged_messages_run_one_at_a_time_per_owner_and_beside_one_another_on_several(
        self, bench: Bench, clock: MovableClock
    ) -> None:
        ids = [bench.publish() for _ in range(2)]
        hand = bench.hand()
        hand.crash(*hand.take())
        clock.advance(1)
        one, two = bench.hand(), bench.hand()
        assert one.ids() == ids[:1]
        assert two.ids() == ids[1:]

    def test_the_same_seq_gives_a_charged_message_again(self, bench: Bench, charged: str) -> None:
        hand = bench.hand()
        first = hand.claim()
        assert hand.again().deliveries == first.deliveries

    def test_an_expired_charged_message_is_dropped(self, bench: Bench, clock: MovableClock) -> None:
        id = bench.publish(expires_in=1_500)
        hand = bench.hand()
        hand.crash(hand.one())
        clock.advance(2)
        plain = bench.publish()
        assert bench.hand().ids() == [plain]
        assert bench.ended(id) == ("dropped", "expired")

    def test_charged_messages_have_their_priorities(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        bench.publish("low", priority=1)
        bench.publish("high", priority=8)
        hand = bench.hand()
        hand.crash(*hand.take())
        clock.advance(1)
        assert bench.hand().ids() == ["high"]
        assert bench.hand().ids() == ["low"]
