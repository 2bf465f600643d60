"""Cancelling: a waiting message is dropped, a running one asked to stop."""

from __future__ import annotations

import pytest

from reliq.ports.broker import Engine
from reliq.ports.values import Cancelled
from reliq.testing.contracts.base import Contract, MovableClock
from reliq.testing.contracts.bench import Bench, End, on_end, witness


class Cancelling(Contract):
    @pytest.mark.parametrize("delay", [None, 5_000], ids=["ready", "due"])
    def test_a_waiting_message_is_dropped(self, bench: Bench, engine: Engine, delay: int | None) -> None:
        id = bench.publish(delay=delay, on_end=(on_end("dropped", witness("n")),))
        assert bench.cancel(id) == Cancelled("cancelled", "dropped")
        assert bench.ended(id) == ("dropped", "cancelled")
        assert bench.value("n") == b"1"

    def test_a_cancelled_message_is_never_claimed(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        ready, due, kept = bench.publish(), bench.publish(delay=1_000), bench.publish()
        bench.cancel(ready)
        bench.cancel(due)
        clock.advance(2)
        assert bench.hand().ids() == [kept]

    def test_the_reason_is_kept(self, bench: Bench, engine: Engine) -> None:
        id = bench.publish()
        bench.cancel(id, reason="no longer wanted")
        assert bench.ended(id) == ("dropped", "no longer wanted")

    def test_the_record_of_a_cancelled_message_has_its_life(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        id = bench.publish(keep=1_000)
        bench.cancel(id)
        record = bench.record(id)
        assert (record.ended, record.gone) == (clock.now_ms(), clock.now_ms() + 1_000)

    def test_a_running_message_is_asked_to_stop(self, bench: Bench, engine: Engine) -> None:
        hand, delivery = bench.leased()
        id = delivery.receipt.id
        assert not bench.record(id).cancel
        assert bench.cancel(id) == Cancelled("requested", "leased")
        assert (bench.state(id), bench.record(id).cancel) == ("leased", True)
        assert engine.renew(hand.name, 30.0).stop == (id,)
        assert bench.cancel(id) == Cancelled("requested", "leased")

    @pytest.mark.parametrize("kind", ["done", "failed", "dropped"])
    def test_an_ended_message_is_left_as_it_is(self, bench: Bench, engine: Engine, kind: End) -> None:
        hand, delivery = bench.leased()
        hand.settle(delivery, kind)
        before = bench.record(delivery.receipt.id)
        assert bench.cancel(delivery.receipt.id) == Cancelled("ended", kind)
        assert bench.record(delivery.receipt.id) == before

    def test_cancelling_twice_ends_once(self, bench: Bench, engine: Engine) -> None:
        id = bench.publish(on_end=(on_end("any", witness("n")),))
        assert bench.cancel(id).status == "cancelled"
        assert bench.cancel(id) == Cancelled("ended", "dropped")
        assert bench.value("n") == b"1"

    def test_an_unknown_message_is_unknown(self, bench: Bench, engine: Engine) -> None:
        assert bench.cancel("never") == Cancelled("unknown", None)

    def test_a_cancelled_id_is_a_duplicate(self, bench: Bench, engine: Engine) -> None:
        id = bench.publish()
        bench.cancel(id)
        assert bench.offer(id).status == "duplicate"

    def test_a_waiting_message_with_a_charge_can_be_cancelled(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        id = bench.publish()
        hand = bench.hand()
        hand.crash(hand.one())
        clock.advance(1)
        engine.reap()
        assert bench.cancel(id).status == "cancelled"
        assert not bench.hand().claim().deliveries
