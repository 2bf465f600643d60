"""A claim on its way while its owner works; for engines that have it."""

from __future__ import annotations

from typing import Any

from reliq.ports.broker import Engine
from reliq.testing.contracts.base import Contract, needs
from reliq.testing.contracts.bench import Bench, verdict


class Ahead(Contract):
    """`claim_ahead`: sent now, looked at later."""

    def test_a_claim_sent_ahead_settles_and_leases_as_any_claim(self, bench: Bench, engine: Any) -> None:
        needs(engine, "ahead")
        first, second, third = (bench.publish() for _ in range(3))
        hand = bench.hand()
        delivery = hand.one()
        hand.seq += 1
        answer = engine.claim_ahead(hand.name, ("q",), limit=1, seq=hand.seq, settlements=[verdict(delivery)])
        claimed = answer()
        assert [settled.status for settled in claimed.settled] == ["applied"]
        assert [d.receipt.id for d in claimed.deliveries] == [second]
        assert (bench.state(first), bench.state(second), bench.state(third)) == ("done", "leased", "ready")

    def test_other_calls_go_on_while_a_claim_is_on_its_way(self, bench: Bench, engine: Any) -> None:
        needs(engine, "ahead")
        first = bench.publish()
        hand = bench.hand()
        hand.seq += 1
        answer = engine.claim_ahead(hand.name, ("q",), limit=5, seq=hand.seq)
        second = bench.publish()
        assert bench.state(second) == "ready"
        assert [receipt.id for receipt in engine.held(hand.name)] == [first]
        assert [d.receipt.id for d in answer().deliveries] == [first]
        assert hand.ids() == [second]

    def test_an_answer_that_is_never_looked_at_leaves_its_messages_leased(
        self, bench: Bench, engine: Any
    ) -> None:
        needs(engine, "ahead")
        first = bench.publish()
        hand = bench.hand()
        hand.seq += 1
        engine.claim_ahead(hand.name, ("q",), limit=1, seq=hand.seq)
        assert hand.ids() == []
        assert [receipt.id for receipt in engine.held(hand.name)] == [first]
        hand.crash()
        assert bench.state(first) == "ready"

    def test_a_claim_sent_ahead_and_made_again_gives_the_same_batch(self, bench: Bench, engine: Any) -> None:
        needs(engine, "ahead")
        first = bench.publish()
        bench.publish()
        hand = bench.hand()
        hand.seq += 1
        before = engine.claim_ahead(hand.name, ("q",), limit=1, seq=hand.seq)()
        again = hand.again("q", limit=1)
        assert [d.receipt.id for d in before.deliveries] == [first]
        assert again.deliveries == before.deliveries

    def test_a_dead_owner_is_told_so_by_a_claim_sent_ahead(self, bench: Bench, engine: Engine) -> None:
        needs(engine, "ahead")
        bench.publish()
        hand = bench.hand()
        hand.vanish()
        ahead: Any = engine
        claimed = ahead.claim_ahead(hand.name, ("q",), limit=1, seq=1)()
        assert (claimed.live, claimed.deliveries) == (False, ())
