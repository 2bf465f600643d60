"""Surviving a restart: everything accepted is where it was."""

from __future__ import annotations

from collections.abc import Callable

from reliq.ports.broker import Engine
from reliq.testing.contracts.base import Contract, MovableClock
from reliq.testing.contracts.bench import Bench, on_end, verdict, witness
from reliq.wire.message import IndexPut

Reopen = Callable[[], Engine]


class Restarting(Contract):
    def test_messages_are_where_they_were(self, bench: Bench, reopen: Reopen, clock: MovableClock) -> None:
        bench.publish("ready", priority=0)
        bench.publish("due", delay=5_000)
        bench.leased("leased")
        for id, kind in (("done", "done"), ("failed", "failed"), ("dropped", "dropped")):
            other, delivery = bench.leased(id)
            other.settle(delivery, kind, value=b"1" if kind == "done" else None, reason=kind)  # type: ignore[arg-type]
        ids = ["ready", "due", "leased", "done", "failed", "dropped"]
        before = [bench.record(id) for id in ids]
        books = bench.engine.audit()
        bench.engine = reopen()
        assert [bench.record(id) for id in ids] == before
        assert bench.engine.audit() == books
        assert books.accepted == 6

    def test_a_delivery_is_settled_after_a_restart(self, bench: Bench, reopen: Reopen) -> None:
        _, delivery = bench.leased(on_end=(on_end("any", witness("n")),))
        bench.engine = reopen()
        (settled,) = bench.engine.settle([verdict(delivery)])
        assert settled.status == "applied"
        assert bench.value("n") == b"1"
        (settled,) = bench.engine.settle([verdict(delivery)])
        assert settled.status == "repeated"

    def test_a_settlement_is_repeated_after_a_restart(self, bench: Bench, reopen: Reopen) -> None:
        hand, delivery = bench.leased()
        hand.settle(delivery, "retry", after=1_000)
        bench.engine = reopen()
        (settled,) = bench.engine.settle([verdict(delivery, "retry", after=1_000)])
        assert settled.status == "repeated"

    def test_a_claim_whose_reply_was_lost_gives_the_same_batch_after_a_restart(
        self, bench: Bench, reopen: Reopen
    ) -> None:
        for _ in range(3):
            bench.publish()
        hand = bench.hand()
        first = hand.claim(limit=2)
        hand.engine = bench.engine = reopen()
        assert hand.again(limit=2).deliveries == first.deliveries
        assert len(hand.take()) == 1

    def test_a_duplicate_is_one_after_a_restart(self, bench: Bench, reopen: Reopen) -> None:
        id = bench.publish()
        hand, delivery = bench.leased("removed")
        hand.settle(delivery)
        bench.engine.remove("removed")
        bench.engine = reopen()
        assert bench.offer(id).status == "duplicate"
        assert bench.offer("removed").status == "duplicate"

    def test_owners_keep_their_leases(self, bench: Bench, reopen: Reopen, clock: MovableClock) -> None:
        hand, delivery = bench.leased()
        owners = bench.engine.owners()
        bench.engine = reopen()
        assert bench.engine.owners() == owners
        assert bench.engine.held(hand.name) == [delivery.receipt]
        clock.advance(31)
        assert bench.engine.reap().owners == (hand.name,)

    def test_the_store_is_as_it_was(self, bench: Bench, reopen: Reopen) -> None:
        bench.engine.store_put("a", b"1", holder="h")
        bench.engine.store_put("a", b"2", ttl=60.0)
        bench.apply(IndexPut("index", "m", 7))
        before = bench.engine.store_get("a")
        bench.engine = reopen()
        assert bench.engine.store_get("a") == before
        assert bench.engine.index_due("index", before=7) == [("m", 7)]

    def test_a_fence_grows_across_a_restart(self, bench: Bench, reopen: Reopen) -> None:
        hand, delivery = bench.leased("m", queue="q")
        hand.give_back(delivery)
        bench.engine = reopen()
        assert bench.hand().one().receipt.fence == delivery.receipt.fence + 1
