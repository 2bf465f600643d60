"""Burying: the process is dead; the guilty are charged, innocents never quarantined (rule 7)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from reliq.ports.broker import Engine
from reliq.ports.values import Delivery, Ended
from reliq.testing.contracts.base import Contract, MovableClock
from reliq.testing.contracts.bench import Bench, Hand, Kind, on_end, verdict, witness


class Burying(Contract):
    # --- what was not begun ---

    def test_what_was_not_begun_is_ready_at_its_old_place_and_refunded(self, bench: Bench) -> None:
        ids = [bench.publish() for _ in range(3)]
        hand = bench.hand()
        hand.take(limit=2)
        hand.crash()
        for id in ids[:2]:
            record = bench.record(id)
            assert (record.state, record.attempt, record.crashes, record.owner) == ("ready", 0, 0, None)
        assert bench.hand().ids() == ids

    def test_what_was_not_begun_is_claimed_beside_others(self, bench: Bench) -> None:
        ids = [bench.publish() for _ in range(3)]
        hand = bench.hand()
        hand.take()
        hand.crash()
        assert [delivery.alone for delivery in bench.hand().take()] == [False] * len(ids)

    # --- what was begun ---

    def test_what_was_begun_is_charged_and_waits_a_second(self, bench: Bench, clock: MovableClock) -> None:
        begun, waiting = bench.publish(), bench.publish()
        hand = bench.hand()
        one, _ = hand.take()
        hand.crash(one)
        record = bench.record(begun)
        assert (record.state, record.reason, record.due) == ("due", "crashed", clock.now_ms() + 1_000)
        assert (record.crashes, record.attempt, record.retries) == (1, 1, 0)
        assert (bench.state(waiting), bench.record(waiting).crashes) == ("ready", 0)

    def test_charges_wait_1_2_4_and_at_most_60_seconds(self, bench: Bench, clock: MovableClock) -> None:
        bench.publish("m", max_crashes=100)
        waits = []
        for _ in range(9):
            hand = bench.hand()
            hand.crash(hand.one())
            wait = bench.record("m").due - clock.now_ms()
            waits.append(wait / 1000)
            clock.advance(wait / 1000)
        assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]

    def test_all_are_charged_where_nobody_can_tell(self, bench: Bench) -> None:
        ids = [bench.publish() for _ in range(3)]
        hand = bench.hand()
        hand.take()
        hand.vanish()
        assert [bench.record(id).crashes for id in ids] == [1, 1, 1]
        assert [bench.state(id) for id in ids] == ["due"] * 3

    def test_a_receipt_of_an_earlier_lease_charges_nobody(self, bench: Bench, engine: Engine) -> None:
        bench.publish()
        hand = bench.hand()
        earlier = hand.one()
        hand.give_back(earlier)
        hand.one()
        engine.bury(hand.name, started=[earlier.receipt, replace(earlier.receipt, id="never")])
        record = bench.record(earlier.receipt.id)
        assert (record.state, record.crashes, record.attempt) == ("ready", 0, 0)

    # --- quarantine ---

    def test_a_message_that_crashes_alone_too_often_is_quarantined(
        self, bench: Bench, clock: MovableClock
    ) -> None:
        bench.publish("poison", max_crashes=3)
        runs = self._run_poison(bench, clock, {"poison"})
        assert runs == 3
        assert bench.ended("poison") == ("failed", "crashed 3 times")
        assert bench.record("poison").crashes == 3

    def test_a_crash_beside_others_never_quarantines(self, bench: Bench, clock: MovableClock) -> None:
        bench.publish("m", max_crashes=1)
        hand = bench.hand()
        hand.crash(hand.one())
        assert bench.state("m") == "due"
        clock.advance(1)
        hand = bench.hand()
        hand.crash(hand.one())
        assert bench.ended("m") == ("failed", "crashed 2 times")

    def test_innocents_beside_poison_are_never_quarantined(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        innocents = [bench.publish() for _ in range(12)]
        poison = {bench.publish(f"poison-{n}") for n in range(3)}
        runs = self._run_poison(bench, clock, poison)
        assert [bench.state(id) for id in innocents] == ["done"] * 12
        assert [bench.ended(id) for id in sorted(poison)] == [("failed", "crashed 3 times")] * 3
        assert runs <= 3 * len(poison)
        assert engine.owners() == []

    @staticmethod
    def _run_poison(bench: Bench, clock: MovableClock, poison: set[str]) -> int:
        """Work with 4 slots until nothing is left; poison kills the process and all that began in it."""
        runs = 0
        while (depth := bench.engine.depth("q")).ready or depth.due:
            hand = bench.hand()
            while (deliveries := hand.take(limit=4)) and not (killed := _poisonous(deliveries, poison)):
                for delivery in deliveries:
                    hand.settle(delivery)
            if deliveries:
                runs += len(killed)
                hand.crash(*deliveries)
            else:
                hand.crash()
                clock.advance(1)
            bench.check_books()
        return runs

    def test_a_quarantined_message_is_a_dead_letter(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        id = _quarantined(bench, clock)
        assert [record.id for record in engine.list(states=["failed"], reason="crashed")] == [id]
        assert engine.replay(id)
        assert (bench.record(id).crashes, bench.hand().one().alone) == (0, False)

    # --- guilty ---

    def test_the_guilty_are_settled_and_nobody_else_is_charged(self, bench: Bench) -> None:
        ids = [bench.publish() for _ in range(3)]
        hand = bench.hand()
        guilty, begun, _ = hand.take()
        hand.crash(
            guilty, begun, guilty=[verdict(guilty, "failed", reason="time limit", effects=[witness("n")])]
        )
        assert bench.ended(ids[0]) == ("failed", "time limit")
        assert bench.value("n") == b"1"
        assert [bench.record(id).crashes for id in ids] == [0, 0, 0]
        assert [bench.state(id) for id in ids[1:]] == ["ready", "ready"]
        assert [bench.record(id).attempt for id in ids[1:]] == [1, 0]

    def test_beside_the_guilty_what_was_begun_keeps_its_old_place_and_company(self, bench: Bench) -> None:
        ids = [bench.publish() for _ in range(4)]
        hand = bench.hand()
        deliveries = hand.take(limit=3)
        hand.crash(*deliveries, guilty=[verdict(deliveries[0], "failed")])
        assert [delivery.alone for delivery in bench.hand().take()] == [False] * 3
        assert [bench.record(id).attempt for id in ids[1:]] == [2, 2, 1]

    @pytest.mark.parametrize("kind", ["retry", "done", "dropped"])
    def test_the_guilty_get_whatever_verdict_is_given(self, bench: Bench, kind: Kind) -> None:
        hand, delivery = bench.leased()
        hand.crash(delivery, guilty=[verdict(delivery, kind)])
        assert bench.state(delivery.receipt.id) == ("due" if kind == "retry" else kind)

    def test_where_nobody_can_tell_the_others_beside_the_guilty_count_their_attempt(
        self, bench: Bench, engine: Engine
    ) -> None:
        ids = [bench.publish() for _ in range(2)]
        hand = bench.hand()
        guilty, _ = hand.take()
        engine.bury(hand.name, started=None, guilty=[verdict(guilty, "failed")])
        record = bench.record(ids[1])
        assert (record.state, record.crashes, record.attempt) == ("ready", 0, 1)

    def test_guilty_settlements_of_other_owners_change_nothing(self, bench: Bench) -> None:
        other, theirs = bench.leased()
        hand = bench.hand()
        hand.crash(guilty=[verdict(theirs, "failed")])
        assert bench.state(theirs.receipt.id) == "leased"
        assert other.settle(theirs).status == "applied"

    # --- asked to stop ---

    @pytest.mark.parametrize("begun", [True, False])
    def test_a_message_asked_to_stop_is_dropped(self, bench: Bench, engine: Engine, begun: bool) -> None:
        hand, delivery = bench.leased(on_end=(on_end("dropped", witness("n")),))
        bench.cancel(delivery.receipt.id)
        hand.crash(*([delivery] if begun else []))
        assert bench.ended(delivery.receipt.id) == ("dropped", "cancelled")
        assert bench.value("n") == b"1"

    # --- again, and after ---

    def test_burying_twice_does_nothing_more(self, bench: Bench, clock: MovableClock) -> None:
        ids = [bench.publish() for _ in range(3)]
        hand = bench.hand()
        guilty, begun, _ = hand.take()
        first = hand.crash(begun)
        before = [bench.record(id) for id in ids]
        assert first.owners == (hand.name,)
        assert hand.crash(begun) == Ended()
        assert hand.crash(guilty, begun, guilty=[verdict(guilty, "failed")]) == Ended()
        assert hand.vanish() == Ended()
        assert [bench.record(id) for id in ids] == before

    def test_burying_again_does_not_take_what_another_owner_holds_now(
        self, bench: Bench, engine: Engine
    ) -> None:
        hand, delivery = bench.leased()
        hand.crash()
        other = bench.hand()
        again = other.one("own")
        hand.crash(delivery)
        assert engine.held(other.name) == [again.receipt]

    def test_burying_nobody_is_harmless(self, bench: Bench, engine: Engine) -> None:
        assert engine.bury("nobody", started=None) == Ended()

    def test_a_buried_owner_is_gone(self, bench: Bench, engine: Engine) -> None:
        hand, delivery = bench.leased()
        hand.crash()
        assert engine.owners() == []
        assert not engine.renew(hand.name, 30.0).live
        assert not hand.claim("own").live
        assert hand.settle(delivery).status == "stale"
        assert hand.give_back(delivery) == 0

    def test_a_bury_tells_where_everything_went(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        names = ["begun", "waiting", "stopped"]
        for name in names:
            bench.publish(name, task=f"task.{name}")
        hand = bench.hand()
        begun, *_ = hand.take()
        bench.cancel("stopped")
        moved = {m.id: m for m in hand.crash(begun).moved}
        assert sorted(moved) == sorted(names)
        assert [(moved[n].task, moved[n].queue) for n in names] == [(f"task.{n}", "q") for n in names]
        assert [moved[name].state for name in names] == ["due", "ready", "dropped"]
        assert [moved[name].reason for name in ("begun", "stopped")] == ["crashed", "cancelled"]

    def test_a_message_that_a_thread_settled_before_the_death_is_not_charged(self, bench: Bench) -> None:
        hand, delivery = bench.leased()
        hand.settle(delivery)
        hand.crash(delivery)
        assert (bench.state(delivery.receipt.id), bench.record(delivery.receipt.id).crashes) == ("done", 0)


def _poisonous(deliveries: list[Delivery], poison: set[str]) -> list[Delivery]:
    return [delivery for delivery in deliveries if delivery.receipt.id in poison]


def _quarantined(bench: Bench, clock: MovableClock) -> str:
    id = bench.publish(max_crashes=2)
    for _ in range(2):
        hand: Hand = bench.hand()
        hand.crash(hand.one())
        clock.advance(1)
    assert bench.state(id) == "failed"
    return id
