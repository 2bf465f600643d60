"""Fences grow with every claim of a message, whatever lies between."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from reliq.ports.broker import Engine
from reliq.ports.values import Delivery
from reliq.testing.contracts.base import Contract, MovableClock
from reliq.testing.contracts.bench import Bench, Hand

Between = Callable[[Bench, Hand, Delivery, MovableClock], object]


def _purged_and_published_again(bench: Bench, hand: Hand, delivery: Delivery, clock: MovableClock) -> None:
    hand.settle(delivery)
    clock.advance(61)
    bench.engine.remove("m")
    bench.publish("m", keep=0)


def _replayed(bench: Bench, hand: Hand, delivery: Delivery, clock: MovableClock) -> None:
    hand.settle(delivery, "failed")
    assert bench.engine.replay("m")


def _crashed(bench: Bench, hand: Hand, delivery: Delivery, clock: MovableClock) -> None:
    hand.crash(delivery)
    clock.advance(1)


def _reaped(bench: Bench, hand: Hand, delivery: Delivery, clock: MovableClock) -> None:
    clock.advance(1000)
    bench.engine.reap()
    clock.advance(1)


BETWEEN: dict[str, Between] = {
    "a give-back": lambda bench, hand, delivery, clock: hand.give_back(delivery),
    "a retry": lambda bench, hand, delivery, clock: hand.settle(delivery, "retry"),
    "a snooze": lambda bench, hand, delivery, clock: hand.settle(delivery, "snooze"),
    "the death of an unstarted delivery's owner": lambda bench, hand, delivery, clock: hand.crash(),
    "a crash": _crashed,
    "a reap": _reaped,
    "a replay": _replayed,
    "a purge and a new publish": _purged_and_published_again,
}


class Fences(Contract):
    @pytest.mark.parametrize("between", list(BETWEEN.values()), ids=list(BETWEEN))
    def test_a_fence_grows_across(self, bench: Bench, clock: MovableClock, between: Between) -> None:
        bench.publish("m", keep=0)
        hand = bench.hand()
        first = hand.one()
        between(bench, hand, first, clock)
        second = bench.hand().one()
        assert second.receipt.id == "m"
        assert second.receipt.fence > first.receipt.fence
        assert bench.record("m").fence == second.receipt.fence

    def test_fences_are_at_least_the_microseconds_of_the_claim(
        self, bench: Bench, clock: MovableClock
    ) -> None:
        bench.publish()
        assert bench.hand().one().receipt.fence == clock.now_ms() * 1000

    def test_fences_grow_while_the_clock_stands(self, bench: Bench, clock: MovableClock) -> None:
        bench.publish()
        hand = bench.hand()
        fences = []
        for _ in range(5):
            delivery = hand.one()
            fences.append(delivery.receipt.fence)
            hand.give_back(delivery)
        assert fences == [clock.now_ms() * 1000 + n for n in range(5)]

    def test_fences_grow_when_the_wall_clock_is_set_back(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        if not hasattr(clock, "jump"):
            pytest.skip("the clock cannot be set back")
        bench.publish()
        hand = bench.hand()
        first = hand.one()
        hand.give_back(first)
        clock.jump(-3600)
        assert hand.one().receipt.fence == first.receipt.fence + 1
