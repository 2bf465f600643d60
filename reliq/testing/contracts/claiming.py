"""Claiming: what is leased to whom, in which order, and once."""

from __future__ import annotations

from reliq.ports.broker import Engine
from reliq.ports.values import Publication
from reliq.testing.contracts.base import Contract, MovableClock
from reliq.testing.contracts.bench import Bench, envelope_of, verdict


class Claiming(Contract):
    # --- the lease ---

    def test_a_claimed_message_is_leased_to_its_owner(self, bench: Bench) -> None:
        id = bench.publish()
        hand = bench.hand()
        delivery = hand.one()
        record = bench.record(id)
        assert (record.state, record.owner, record.attempt) == ("leased", hand.name, 1)
        assert (delivery.receipt.id, delivery.receipt.owner) == (id, hand.name)
        assert delivery.receipt.fence == record.fence > 0
        assert record.claimed is not None
        assert record.claimed >= record.published

    def test_a_delivery_brings_what_was_published_and_how_often_it_ran(self, bench: Bench) -> None:
        id = bench.publish(body=b"[[1],{}]")
        record = bench.record(id)
        delivery = bench.hand().one()
        assert delivery.payload == record.payload
        assert (delivery.attempt, delivery.retries, delivery.crashes, delivery.snoozes) == (1, 0, 0, 0)
        assert (delivery.published, delivery.due, delivery.alone) == (record.published, record.due, False)

    def test_a_message_is_leased_to_one_owner_only(self, bench: Bench) -> None:
        bench.publish()
        assert len(bench.hand().take()) == 1
        assert bench.hand().take() == []

    def test_a_claim_leases_no_more_than_its_limit(self, bench: Bench, engine: Engine) -> None:
        ids = [bench.publish() for _ in range(5)]
        hand = bench.hand()
        assert hand.ids(limit=2) == ids[:2]
        assert hand.ids(limit=2) == ids[2:4]
        assert engine.depth("q").ready == 1

    # --- queues ---

    def test_only_the_queues_asked_for_are_served(self, bench: Bench) -> None:
        bench.publish(queue="other")
        assert bench.hand().ids("q") == []

    def test_the_first_queue_that_has_work_serves_first(self, bench: Bench) -> None:
        a = [bench.publish(queue="a") for _ in range(2)]
        b = [bench.publish(queue="b") for _ in range(2)]
        hand = bench.hand()
        assert hand.ids("b", "a", limit=3) == [*b, a[0]]
        assert hand.ids("b", "a", limit=3) == [a[1]]

    def test_the_limit_counts_over_all_queues(self, bench: Bench) -> None:
        first = [bench.publish(queue="b") for _ in range(2)]
        others = [bench.publish(queue="a") for _ in range(4)]
        hand = bench.hand()
        assert hand.ids("b", "a", limit=2) == first
        assert [hand.ids("b", "a", limit=3), hand.ids("b", "a", limit=3)] == [others[:3], others[3:]]

    def test_a_higher_priority_does_not_pass_an_earlier_queue(self, bench: Bench, engine: Engine) -> None:
        low = bench.publish(queue="a", priority=0)
        high = bench.publish(queue="b", priority=9)
        assert bench.hand().ids("a", "b") == [low, high]

    def test_a_queue_named_twice_gives_its_messages_once(self, bench: Bench) -> None:
        id = bench.publish()
        assert bench.hand().ids("q", "q") == [id]

    # --- who may claim ---

    def test_an_unknown_owner_is_given_nothing(self, bench: Bench, engine: Engine) -> None:
        id = bench.publish()
        claimed = engine.claim("nobody", ["q"], limit=1, seq=1)
        assert (claimed.live, claimed.deliveries) == (False, ())
        assert bench.state(id) == "ready"

    def test_a_buried_owner_is_given_nothing_ever(self, bench: Bench) -> None:
        hand = bench.hand()
        hand.crash()
        id = bench.publish()
        claimed = hand.claim()
        assert (claimed.live, claimed.deliveries) == (False, ())
        assert bench.state(id) == "ready"

    def test_an_owner_whose_lease_is_over_but_who_was_not_reaped_may_claim(
        self, bench: Bench, clock: MovableClock
    ) -> None:
        hand = bench.hand(lease=3)
        clock.advance(100)
        id = bench.publish()
        assert hand.ids() == [id]

    # --- a lost reply ---

    def test_the_same_seq_gives_the_same_batch_again(self, bench: Bench) -> None:
        for _ in range(4):
            bench.publish()
        hand = bench.hand()
        first = hand.claim(limit=2)
        assert hand.again(limit=2).deliveries == first.deliveries
        assert hand.again(limit=4).deliveries == first.deliveries
        assert [bench.record(d.receipt.id).attempt for d in first.deliveries] == [1, 1]

    def test_the_same_seq_gives_only_what_is_still_leased_by_it(self, bench: Bench) -> None:
        for _ in range(4):
            bench.publish()
        hand = bench.hand()
        done, given_back, kept = hand.take(limit=3)
        hand.settle(done)
        hand.give_back(given_back)
        assert hand.again(limit=3).deliveries == (kept,)

    def test_the_same_seq_does_not_give_a_message_that_came_back_by_a_later_claim(self, bench: Bench) -> None:
        bench.publish()
        hand = bench.hand()
        first = hand.one()
        hand.give_back(first)
        second = hand.one()
        assert second.receipt.fence > first.receipt.fence
        assert hand.again(seq=hand.seq - 1).deliveries == ()
        assert hand.again().deliveries == (second,)

    def test_the_same_seq_gives_the_batch_in_the_same_order(self, bench: Bench) -> None:
        for priority, queue in ((0, "a"), (9, "a"), (0, "b"), (9, "b"), (5, "a")):
            bench.publish(priority=priority, queue=queue)
        hand = bench.hand()
        claimed = hand.claim("b", "a")
        assert len(claimed.deliveries) == 5
        assert hand.again("b", "a").deliveries == claimed.deliveries

    def test_the_same_seq_with_other_queues_gives_the_same_batch(self, bench: Bench) -> None:
        for queue in ("a", "b"):
            bench.publish(queue=queue)
        hand = bench.hand()
        claimed = hand.claim("a", "b")
        for queues in (["b"], ["a", "c"], ["c"]):
            again = hand.again(*queues).deliveries
            assert sorted(again, key=lambda d: d.receipt.id) == sorted(
                claimed.deliveries, key=lambda d: d.receipt.id
            )

    def test_a_limit_of_0_gives_nothing_with_whatever_seq(self, bench: Bench) -> None:
        bench.publish()
        hand = bench.hand()
        held = hand.one()
        bench.publish()
        assert hand.again(limit=0).deliveries == ()
        assert hand.claim(limit=0).deliveries == ()
        assert bench.engine.held(hand.name) == [held.receipt]

    def test_a_smaller_seq_gives_nothing(self, bench: Bench, engine: Engine) -> None:
        for _ in range(3):
            bench.publish()
        hand = bench.hand()
        hand.take(limit=1)
        hand.take(limit=1)
        claimed = hand.again(seq=hand.seq - 1, limit=1)
        assert (claimed.live, claimed.deliveries) == (True, ())
        assert engine.depth("q").ready == 1

    def test_a_claim_made_twice_settles_once(self, bench: Bench) -> None:
        first = bench.publish()
        hand = bench.hand()
        settlements = [verdict(hand.one())]
        second = bench.publish()
        one = hand.claim(settlements=settlements)
        two = hand.again(settlements=settlements)
        assert [settled.status for settled in one.settled] == ["applied"]
        assert [settled.status for settled in two.settled] == ["repeated"]
        assert one.deliveries == two.deliveries
        assert one.deliveries[0].receipt.id == second
        assert bench.state(first) == "done"

    def test_owners_count_their_claims_each_for_itself(self, bench: Bench) -> None:
        ids = [bench.publish() for _ in range(2)]
        assert [bench.hand().ids(limit=1), bench.hand().ids(limit=1)] == [ids[:1], ids[1:]]

    # --- settlements that travel with a claim ---

    def test_settlements_are_applied_before_anything_is_leased(self, bench: Bench, engine: Engine) -> None:
        id = bench.publish()
        hand = bench.hand()
        claimed = hand.claim(settlements=[verdict(hand.one(), "retry")])
        assert [settled.status for settled in claimed.settled] == ["applied"]
        assert [delivery.receipt.id for delivery in claimed.deliveries] == [id]
        assert claimed.deliveries[0].attempt == 2

    def test_settlements_are_answered_in_their_order(self, bench: Bench) -> None:
        ids = [bench.publish() for _ in range(3)]
        hand = bench.hand()
        deliveries = hand.take()
        claimed = hand.claim(settlements=[verdict(d) for d in reversed(deliveries)])
        assert [settled.id for settled in claimed.settled] == ids[::-1]

    def test_settlements_of_a_dead_owner_are_stale(self, bench: Bench) -> None:
        id = bench.publish()
        hand = bench.hand()
        delivery = hand.one()
        hand.crash()
        claimed = hand.claim(settlements=[verdict(delivery)])
        assert ([settled.status for settled in claimed.settled], claimed.live) == (["stale"], False)
        assert bench.state(id) == "ready"

    def test_a_limit_of_0_only_settles(self, bench: Bench) -> None:
        done, left = bench.publish(), bench.publish()
        hand = bench.hand()
        (delivery,) = hand.take(limit=1)
        claimed = hand.claim(limit=0, settlements=[verdict(delivery)])
        assert (claimed.deliveries, claimed.live) == ((), True)
        assert (bench.state(done), bench.state(left)) == ("done", "ready")

    # --- due and expired ---

    def test_a_due_message_is_not_claimed_before_its_time(self, bench: Bench, clock: MovableClock) -> None:
        id = bench.publish(delay=1_000)
        hand = bench.hand()
        clock.advance(0.999)
        assert hand.ids() == []
        clock.advance(0.001)
        assert hand.ids() == [id]

    def test_due_messages_come_in_due_order(self, bench: Bench, clock: MovableClock) -> None:
        bench.publish("third", delay=3_000)
        bench.publish("first", delay=1_000)
        bench.publish("second", delay=2_000)
        clock.advance(5)
        assert bench.hand().ids() == ["first", "second", "third"]

    def test_due_at_one_moment_they_come_in_the_order_of_acceptance(
        self, bench: Bench, clock: MovableClock
    ) -> None:
        ids = [bench.publish(delay=1_000) for _ in range(5)]
        clock.advance(1)
        assert bench.hand().ids() == ids

    def test_what_is_promoted_stands_behind_what_is_ready_then(
        self, bench: Bench, clock: MovableClock
    ) -> None:
        bench.publish("delayed", delay=1_000)
        clock.advance(2)
        bench.publish("ready")
        assert bench.hand().ids() == ["ready", "delayed"]

    def test_a_promoted_message_keeps_its_priority(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        bench.publish("urgent", delay=1_000, priority=9)
        bench.publish("plain")
        clock.advance(1)
        assert bench.hand().ids() == ["urgent", "plain"]

    def test_due_messages_of_other_queues_are_left_alone(self, bench: Bench, clock: MovableClock) -> None:
        id = bench.publish(queue="other", delay=1_000)
        clock.advance(2)
        assert bench.hand().ids("q") == []
        assert bench.hand().ids("other") == [id]

    def test_the_next_due_time_is_told_when_nothing_was_ready(
        self, bench: Bench, clock: MovableClock
    ) -> None:
        bench.publish(delay=9_000)
        bench.publish(delay=4_000)
        bench.publish(delay=1_000, queue="other")
        hand = bench.hand()
        assert hand.claim("q").next_due == clock.now_ms() + 4_000
        assert hand.claim("q", "other").next_due == clock.now_ms() + 1_000
        assert hand.claim("empty").next_due is None

    def test_the_next_due_time_is_the_earliest_of_all_queues(self, bench: Bench, clock: MovableClock) -> None:
        for queue, delay in (("a", 2_000), ("b", 1_000), ("c", 3_000)):
            bench.publish(queue=queue, delay=delay)
        hand = bench.hand()
        assert hand.claim("a", "b", "c", "none").next_due == clock.now_ms() + 1_000
        assert hand.claim("none", "b", "a").next_due == clock.now_ms() + 1_000

    def test_of_more_than_a_thousand_expired_messages_none_is_leased(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        publications = [Publication(envelope_of(f"m-{n}", expires_in=1_000)) for n in range(1_100)]
        engine.publish(publications)
        bench.publish("good")
        clock.advance(1)
        hand = bench.hand()
        ids = [id for _ in range(12) for id in hand.ids(limit=100)]
        assert ids == ["good"]
        assert engine.audit().states["dropped"] == 1_100

    def test_the_next_due_time_is_not_told_with_deliveries(self, bench: Bench) -> None:
        bench.publish()
        bench.publish(delay=4_000)
        assert bench.hand().claim().next_due is None

    def test_an_expired_message_is_dropped_instead_of_being_leased(
        self, bench: Bench, clock: MovableClock
    ) -> None:
        expired = bench.publish(expires_in=1_000)
        good = bench.publish()
        clock.advance(1)
        assert bench.hand().ids(limit=1) == [good]
        assert bench.ended(expired) == ("dropped", "expired")
        assert bench.record(expired).attempt == 0

    def test_a_claim_drops_what_expired_in_other_queues_too(self, bench: Bench, clock: MovableClock) -> None:
        expired = bench.publish(queue="other", expires_in=1_000)
        waiting = bench.publish(queue="other", delay=5_000, expires_in=1_000)
        clock.advance(1)
        assert bench.hand().ids("q") == []
        assert [bench.ended(id) for id in (expired, waiting)] == [("dropped", "expired")] * 2

    def test_a_message_is_leased_until_the_moment_it_expires(self, bench: Bench, clock: MovableClock) -> None:
        id = bench.publish(expires_in=1_000)
        clock.advance(0.999)
        assert bench.hand().ids() == [id]

    def test_a_due_message_that_expired_meanwhile_is_dropped(self, bench: Bench, clock: MovableClock) -> None:
        id = bench.publish(delay=1_000, expires_in=2_000)
        clock.advance(2)
        assert bench.hand().ids() == []
        assert bench.ended(id) == ("dropped", "expired")

    def test_a_leased_message_does_not_expire(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        hand, delivery = bench.leased(expires_in=1_000)
        clock.advance(10)
        engine.reap()
        assert hand.settle(delivery).status == "applied"
