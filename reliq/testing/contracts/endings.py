"""What ends a message frees what it holds (rule 4), whoever or whatever ends it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from reliq.ports import records
from reliq.ports.broker import Engine
from reliq.ports.values import Delivery
from reliq.testing.contracts.base import Contract, MovableClock
from reliq.testing.contracts.bench import Bench, Hand, Kind, follow, on_end, told, verdict, witness
from reliq.wire.message import Add, CancelMessage, Ending, Put, Remove, Touch

ID = "m"
FAR = 1_000_000


class Ways:
    """Every way for message `m` to end; each publishes it with `fields` and ends it."""

    def __init__(self, bench: Bench, clock: MovableClock, fields: dict[str, object]) -> None:
        self.bench = bench
        self.clock = clock
        self.fields = fields

    def publish(self, **more: object) -> None:
        self.bench.publish(ID, **{**self.fields, **more})  # type: ignore[arg-type]

    def lease(self, **more: object) -> tuple[Hand, Delivery]:
        self.publish(**more)
        hand = self.bench.hand()
        return hand, hand.one()

    def settled(self, kind: Kind) -> None:
        hand, delivery = self.lease()
        hand.settle(delivery, kind)

    def settled_within_a_claim(self) -> None:
        hand, delivery = self.lease()
        hand.claim(settlements=[verdict(delivery, "failed")])

    def cancelled_while_ready(self) -> None:
        self.publish()
        self.bench.cancel(ID)

    def cancelled_while_due(self) -> None:
        self.publish(delay=FAR)
        self.bench.cancel(ID)

    def cancelled_by_an_effect(self) -> None:
        self.publish()
        self.bench.apply(CancelMessage(ID))

    def cancelled_by_an_effect_of_a_publish(self) -> None:
        self.publish()
        self.bench.publish(queue="other", effects=[CancelMessage(ID)])

    def cancelled_by_an_effect_of_a_settlement(self) -> None:
        hand, delivery = self.bench.leased()
        self.publish()
        hand.settle(delivery, effects=[CancelMessage(ID)])

    def cancelled_by_the_end_of_another(self) -> None:
        other = self.bench.publish(queue="other", on_end=(on_end("any", CancelMessage(ID)),))
        self.publish()
        self.bench.cancel(other)

    def expired_at_a_claim(self) -> None:
        self.publish(expires_in=1_000)
        self.clock.advance(1)
        assert self.bench.hand().ids() == []

    def expired_at_promotion(self) -> None:
        self.publish(delay=500, expires_in=1_000)
        self.clock.advance(1)
        assert self.bench.hand().ids() == []

    def expired_at_a_reap_while_ready(self) -> None:
        self.publish(expires_in=1_000)
        self.clock.advance(1)
        self.bench.engine.reap()

    def expired_at_a_reap_while_due(self) -> None:
        self.publish(delay=FAR, expires_in=1_000)
        self.clock.advance(1)
        self.bench.engine.reap()

    def expired_before_a_retry(self) -> None:
        hand, delivery = self.lease(expires_in=1_000)
        self.clock.advance(1)
        hand.settle(delivery, "retry")

    def purged(self) -> None:
        self.publish()
        assert self.bench.engine.purge("q") == 1

    def purged_while_due(self) -> None:
        self.publish(delay=FAR)
        assert self.bench.engine.purge("q") == 1

    def quarantined_by_a_bury(self) -> None:
        self._crash(lambda hand, delivery: hand.crash(delivery))

    def quarantined_by_a_reap(self) -> None:
        def reap(hand: Hand, delivery: Delivery) -> None:
            self.clock.advance(31)
            self.bench.engine.reap()

        self._crash(reap)

    def _crash(self, die: Callable[[Hand, Delivery], object]) -> None:
        hand, delivery = self.lease(max_crashes=2)
        die(hand, delivery)
        self.clock.advance(1)
        hand = self.bench.hand()
        die(hand, hand.one())

    def failed_as_the_guilty_of_a_bury(self) -> None:
        hand, delivery = self.lease()
        hand.crash(delivery, guilty=[verdict(delivery, "failed")])

    def asked_to_stop_and_buried(self) -> None:
        self._stop(lambda hand, delivery: hand.crash())

    def asked_to_stop_and_crashed(self) -> None:
        self._stop(lambda hand, delivery: hand.crash(delivery))

    def asked_to_stop_and_guilty(self) -> None:
        self._stop(lambda hand, delivery: hand.crash(delivery, guilty=[verdict(delivery, "retry")]))

    def asked_to_stop_and_reaped(self) -> None:
        def reap(hand: Hand, delivery: Delivery) -> None:
            self.clock.advance(31)
            self.bench.engine.reap()

        self._stop(reap)

    def asked_to_stop_and_given_back(self) -> None:
        self._stop(lambda hand, delivery: hand.give_back(delivery))

    def asked_to_stop_and_retried(self) -> None:
        self._stop(lambda hand, delivery: hand.settle(delivery, "retry"))

    def asked_to_stop_and_snoozed(self) -> None:
        self._stop(lambda hand, delivery: hand.settle(delivery, "snooze"))

    def _stop(self, go_on: Callable[[Hand, Delivery], object]) -> None:
        hand, delivery = self.lease()
        assert self.bench.cancel(ID).status == "requested"
        go_on(hand, delivery)


Way = Callable[[Ways], None]
WAYS: dict[str, tuple[str, str | None, Way]] = {
    "a verdict of done": ("done", None, lambda ways: ways.settled("done")),
    "a verdict of failed": ("failed", None, lambda ways: ways.settled("failed")),
    "a verdict of dropped": ("dropped", None, lambda ways: ways.settled("dropped")),
    "a verdict within a claim": ("failed", None, Ways.settled_within_a_claim),
    "a cancel while ready": ("dropped", "cancelled", Ways.cancelled_while_ready),
    "a cancel while due": ("dropped", "cancelled", Ways.cancelled_while_due),
    "a cancel effect": ("dropped", "cancelled", Ways.cancelled_by_an_effect),
    "a cancel effect of a publish": ("dropped", "cancelled", Ways.cancelled_by_an_effect_of_a_publish),
    "a cancel effect of a settlement": ("dropped", "cancelled", Ways.cancelled_by_an_effect_of_a_settlement),
    "the end of another": ("dropped", "cancelled", Ways.cancelled_by_the_end_of_another),
    "expiry at a claim": ("dropped", "expired", Ways.expired_at_a_claim),
    "expiry at promotion": ("dropped", "expired", Ways.expired_at_promotion),
    "expiry at a reap while ready": ("dropped", "expired", Ways.expired_at_a_reap_while_ready),
    "expiry at a reap while due": ("dropped", "expired", Ways.expired_at_a_reap_while_due),
    "expiry before a retry": ("dropped", "expired", Ways.expired_before_a_retry),
    "a purge": ("dropped", "purged", Ways.purged),
    "a purge while due": ("dropped", "purged", Ways.purged_while_due),
    "quarantine by a bury": ("failed", "crashed 2 times", Ways.quarantined_by_a_bury),
    "quarantine by a reap": ("failed", "crashed 2 times", Ways.quarantined_by_a_reap),
    "the guilt of a process's death": ("failed", None, Ways.failed_as_the_guilty_of_a_bury),
    "a stop and a bury": ("dropped", "cancelled", Ways.asked_to_stop_and_buried),
    "a stop and a crash": ("dropped", "cancelled", Ways.asked_to_stop_and_crashed),
    "a stop and guilt": ("dropped", "cancelled", Ways.asked_to_stop_and_guilty),
    "a stop and a reap": ("dropped", "cancelled", Ways.asked_to_stop_and_reaped),
    "a stop and a give-back": ("dropped", "cancelled", Ways.asked_to_stop_and_given_back),
    "a stop and a retry": ("dropped", "cancelled", Ways.asked_to_stop_and_retried),
    "a stop and a snooze": ("dropped", "cancelled", Ways.asked_to_stop_and_snoozed),
}

every_way = pytest.mark.parametrize(("state", "reason", "end"), list(WAYS.values()), ids=list(WAYS))


class Endings(Contract):
    @every_way
    def test_a_message_ended_by(
        self, bench: Bench, clock: MovableClock, state: str, reason: str | None, end: Way
    ) -> None:
        """... frees its lock, tells its class alone, publishes its follow-up, each once."""
        ends: tuple[Ending, ...] = tuple(on_end(on, told(on)) for on in ("done", "failed", "dropped"))
        ends += (
            on_end(
                "any", Remove("lock", holder=ID), witness("times"), follow_ups=[follow("next", queue="next")]
            ),
        )
        end(Ways(bench, clock, {"guards": [Add("lock", holder=ID)], "on_end": ends}))

        assert bench.ended(ID) == (state, reason)
        assert bench.value("lock") is None
        assert [key for key, _ in sorted(records(bench.engine, "told:"))] == [f"told:{state}"]
        assert bench.value("times") == b"1"
        assert bench.hand().ids("next") == ["next"]
        bench.check_books()

    @every_way
    def test_a_message_ended_by_leaves_the_lock_of_another_alone(
        self, bench: Bench, clock: MovableClock, state: str, reason: str | None, end: Way
    ) -> None:
        bench.engine.store_put("lock", b"", holder="another")
        end(Ways(bench, clock, {"on_end": (on_end("any", Remove("lock", holder=ID)),)}))
        assert bench.state(ID) == state
        assert bench.value("lock") == b""

    def test_nothing_is_freed_before_the_end(self, bench: Bench, engine: Engine, clock: MovableClock) -> None:
        bench.publish(
            ID, guards=[Add("lock", holder=ID)], on_end=(on_end("any", Remove("lock"), witness("n")),)
        )
        hand = bench.hand()
        hand.settle(hand.one(), "retry")
        hand.settle(hand.one(), "snooze")
        hand.give_back(hand.one())
        delivery = hand.one()
        hand.crash(delivery)
        clock.advance(1)
        bench.hand().one()
        bench.cancel(ID)
        assert (bench.value("lock"), bench.value("n")) == (b"", None)

    @pytest.mark.parametrize("effect", [Touch("lock", 9_000, holder=ID), Remove("lock", holder=ID)])
    def test_a_record_whose_time_was_over_before_the_end_is_no_more(
        self, bench: Bench, clock: MovableClock, effect: Touch | Remove
    ) -> None:
        """Its message had it while it was leased, and it ends with that."""
        lock = Add("lock", ttl=1_000, holder=ID)
        hand, delivery = bench.leased(ID, guards=[lock], on_end=(on_end("done", effect),))
        clock.advance(2)
        assert bench.value("lock") == b""
        hand.settle(delivery)
        assert bench.value("lock") is None

    def test_a_repeated_end_frees_nothing_twice(self, bench: Bench) -> None:
        hand, delivery = bench.leased(on_end=(on_end("any", witness("n")),))
        hand.settle(delivery)
        hand.settle(delivery)
        hand.settle(delivery, "failed")
        assert bench.value("n") == b"1"

    def test_a_stale_settlement_does_not_free_the_lock_of_the_newer_delivery(
        self, bench: Bench, clock: MovableClock
    ) -> None:
        free = (on_end("any", Remove("lock", holder=ID)),)
        hand, delivery = bench.leased(ID, guards=[Add("lock", holder=ID)], on_end=free)
        hand.crash()
        newer = bench.hand()
        newer.one("own")
        assert hand.settle(delivery).status == "stale"
        assert bench.value("lock") == b""

    def test_a_lock_is_free_for_the_next_message_in_the_same_claim(self, bench: Bench) -> None:
        bench.publish(ID, guards=[Add("lock", holder=ID)], on_end=(on_end("any", Remove("lock", holder=ID)),))
        hand = bench.hand()
        delivery = hand.one()
        assert bench.offer("next", guards=[Add("lock", holder="next")]).status == "refused"
        hand.claim(settlements=[verdict(delivery)])
        assert bench.offer("next", guards=[Add("lock", holder="next")]).status == "accepted"

    def test_endings_apply_in_their_order(self, bench: Bench) -> None:
        ends = (
            on_end("any", Put("key", b"1")),
            on_end("done", Put("key", b"2")),
            on_end("any", witness("key")),
        )
        hand, delivery = bench.leased(on_end=ends)
        hand.settle(delivery)
        assert bench.value("key") == b"3"

    def test_an_end_that_ends_another_that_ends_a_third_is_one_step(
        self, bench: Bench, engine: Engine
    ) -> None:
        for n in range(5):
            bench.publish(f"m-{n}", on_end=(on_end("any", CancelMessage(f"m-{n + 1}"), witness("n")),))
        bench.cancel("m-0")
        assert [bench.state(f"m-{n}") for n in range(5)] == ["dropped"] * 5
        assert bench.value("n") == b"5"

    def test_messages_that_end_each_other_end_once(self, bench: Bench, engine: Engine) -> None:
        for id, other in (("a", "b"), ("b", "a")):
            bench.publish(id, on_end=(on_end("any", CancelMessage(other), witness("n")),))
        bench.cancel("a")
        assert (bench.state("a"), bench.state("b"), bench.value("n")) == ("dropped", "dropped", b"2")

    def test_a_thousand_messages_can_end_one_after_another_in_one_step(
        self, bench: Bench, engine: Engine
    ) -> None:
        for n in range(1_000):
            bench.publish(f"m-{n}", on_end=(on_end("any", CancelMessage(f"m-{n + 1}")),))
        bench.cancel("m-0")
        assert engine.audit().states["dropped"] == 1_000

    def test_a_canceller_does_not_count_what_the_others_end_skipped(self, bench: Bench) -> None:
        bench.publish("other", on_end=(on_end("any", Remove("absent")),))
        hand, delivery = bench.leased()
        assert hand.settle(delivery, effects=[CancelMessage("other")]).skipped == 0
