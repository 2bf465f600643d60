"""Settling: applied once, repeated when the reply was lost, stale for everybody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from reliq.ports.broker import Engine
from reliq.ports.values import Delivery, Receipt
from reliq.testing.contracts.base import Contract, MovableClock
from reliq.testing.contracts.bench import Bench, Hand, Kind, follow, on_end, verdict, witness

ENDS: tuple[Kind, ...] = ("done", "failed", "dropped")
KINDS: tuple[Kind, ...] = (*ENDS, "retry", "snooze")

each_end = pytest.mark.parametrize("kind", ENDS)
each_kind = pytest.mark.parametrize("kind", KINDS)


class Settling(Contract):
    # --- what ends ---

    @each_end
    def test_a_verdict_ends_the_message(self, bench: Bench, clock: MovableClock, kind: Kind) -> None:
        hand, delivery = bench.leased(keep=1_000, keep_failed=5_000)
        clock.advance(2)
        settled = hand.settle(delivery, kind, reason="so it is")
        assert (settled.id, settled.status, settled.skipped) == (delivery.receipt.id, "applied", 0)
        record = bench.record(delivery.receipt.id)
        assert (record.state, record.reason, record.owner) == (kind, "so it is", None)
        assert record.ended == clock.now_ms()
        assert record.gone == clock.now_ms() + (5_000 if kind == "failed" else 1_000)
        assert hand.ids("own") == []

    def test_the_result_of_done_is_kept(self, bench: Bench) -> None:
        hand, delivery = bench.leased()
        hand.settle(delivery, "done", value=b'{"a":1}')
        assert bench.record(delivery.receipt.id).value == b'{"a":1}'

    @pytest.mark.parametrize("value", [None, b"7"])
    @pytest.mark.parametrize("acts", [0, 1])
    def test_done_after_a_failed_try_does_all_that_it_says(
        self, bench: Bench, clock: MovableClock, value: bytes | None, acts: int
    ) -> None:
        hand, delivery = bench.leased(on_end=(on_end("done", witness("n")),))
        hand.settle(delivery, "retry", error=b"{}")
        hand.settle(hand.one("own"), value=value, effects=[witness("m")] * acts)
        record = bench.record(delivery.receipt.id)
        assert (record.state, record.value, record.error) == ("done", value, None)
        assert (bench.value("n"), bench.value("m")) == (b"1", b"1" if acts else None)

    def test_a_receipt_of_somebody_else_is_stale(self, bench: Bench, engine: Engine) -> None:
        """Though message and fence are right."""
        _, delivery = bench.leased()
        stranger = bench.hand()
        wrong = Receipt(delivery.receipt.id, stranger.name, delivery.receipt.fence)
        assert [one.status for one in engine.settle([verdict(wrong)])] == ["stale"]
        assert bench.state(delivery.receipt.id) == "leased"

    @pytest.mark.parametrize("kind", ["failed", "dropped"])
    def test_only_done_has_a_result(self, bench: Bench, kind: Kind) -> None:
        hand, delivery = bench.leased()
        hand.settle(delivery, kind, value=b"1")
        assert bench.record(delivery.receipt.id).value is None

    @pytest.mark.parametrize("keep", [True, False])
    def test_the_result_is_kept_or_not_whatever_else_the_settlement_does(
        self, bench: Bench, keep: bool
    ) -> None:
        hand, delivery = bench.leased(keep_result=keep, on_end=(on_end("done", witness("n")),))
        hand.settle(delivery, value=b"7", effects=[witness("m")])
        assert bench.record(delivery.receipt.id).value == (b"7" if keep else None)

    @pytest.mark.parametrize("fields", [{}, {"reason": "so it is"}, {"follow_ups": [follow("next")]}])
    def test_the_result_is_not_kept_if_the_envelope_says_so(
        self, bench: Bench, fields: dict[str, Any]
    ) -> None:
        hand, delivery = bench.leased(keep_result=False)
        hand.settle(delivery, "done", value=b"1", **fields)
        assert bench.record(delivery.receipt.id).value is None

    def test_the_error_of_failed_is_kept(self, bench: Bench) -> None:
        hand, delivery = bench.leased()
        hand.settle(delivery, "failed", error=b"why")
        assert bench.record(delivery.receipt.id).error == b"why"

    def test_done_clears_the_error_of_an_earlier_attempt(self, bench: Bench) -> None:
        hand, delivery = bench.leased()
        hand.settle(delivery, "retry", error=b"first")
        hand.settle(hand.one("own"), "done", value=b"1")
        assert bench.record(delivery.receipt.id).error is None

    # --- what waits ---

    def test_retry_makes_the_message_due_after_a_while(self, bench: Bench, clock: MovableClock) -> None:
        hand, delivery = bench.leased()
        hand.settle(delivery, "retry", after=2_000, reason="flaky", error=b"trace")
        record = bench.record(delivery.receipt.id)
        assert (record.state, record.due, record.reason) == ("due", clock.now_ms() + 2_000, "flaky")
        assert (record.retries, record.attempt, record.error, record.owner) == (1, 1, b"trace", None)
        clock.advance(1.999)
        assert hand.ids("own") == []
        clock.advance(0.001)
        again = hand.one("own")
        assert (again.attempt, again.retries) == (2, 1)

    def test_retry_makes_the_message_due_at_a_moment(self, bench: Bench, clock: MovableClock) -> None:
        hand, delivery = bench.leased()
        hand.settle(delivery, "retry", at=clock.now_ms() + 7_000)
        assert bench.record(delivery.receipt.id).due == clock.now_ms() + 7_000

    def test_retry_with_neither_is_due_now(self, bench: Bench, clock: MovableClock) -> None:
        hand, delivery = bench.leased()
        hand.settle(delivery, "retry")
        record = bench.record(delivery.receipt.id)
        assert (record.state, record.due) == ("due", clock.now_ms())
        assert hand.ids("own") == [delivery.receipt.id]

    def test_a_moment_in_the_past_is_now(self, bench: Bench, clock: MovableClock) -> None:
        hand, delivery = bench.leased()
        hand.settle(delivery, "retry", at=clock.now_ms() - 7_000)
        assert bench.record(delivery.receipt.id).due == clock.now_ms()

    def test_snooze_gives_the_attempt_back(self, bench: Bench, clock: MovableClock) -> None:
        hand, delivery = bench.leased()
        hand.settle(delivery, "snooze", after=2_000, reason="not yet")
        record = bench.record(delivery.receipt.id)
        assert (record.state, record.reason, record.due) == ("due", "not yet", clock.now_ms() + 2_000)
        assert (record.attempt, record.retries, record.snoozes) == (0, 0, 1)
        clock.advance(2)
        again = hand.one("own")
        assert (again.attempt, again.retries, again.snoozes) == (1, 0, 1)

    def test_attempts_retries_and_snoozes_add_up(self, bench: Bench) -> None:
        hand, delivery = bench.leased()
        kinds: tuple[Kind, ...] = ("retry", "snooze", "retry", "snooze", "retry")
        for kind in kinds:
            hand.settle(delivery, kind)
            delivery = hand.one("own")
        assert (delivery.attempt, delivery.retries, delivery.snoozes) == (4, 3, 2)

    def test_a_retried_message_is_never_a_second_one(self, bench: Bench, engine: Engine) -> None:
        hand, delivery = bench.leased()
        for _ in range(3):
            hand.settle(delivery, "retry")
            delivery = hand.one("own")
        assert engine.audit().accepted == 1
        assert len(engine.list()) == 1

    # --- repeated ---

    @each_kind
    def test_the_same_settlement_again_is_repeated_and_writes_nothing(self, bench: Bench, kind: Kind) -> None:
        hand, delivery = bench.leased()
        fields: dict[str, Any] = {"effects": [witness("n")], "follow_ups": [follow("next", queue="next")]}
        assert hand.settle(delivery, kind, **fields).status == "applied"
        before = bench.record(delivery.receipt.id)
        assert hand.settle(delivery, kind, **fields).status == "repeated"
        assert bench.record(delivery.receipt.id) == before
        assert bench.value("n") == b"1"
        assert bench.hand().ids("next") == ["next"]

    @each_kind
    def test_another_verdict_by_a_receipt_that_settled_is_repeated_and_changes_nothing(
        self, bench: Bench, kind: Kind
    ) -> None:
        hand, delivery = bench.leased()
        assert hand.settle(delivery, kind).status == "applied"
        before = bench.record(delivery.receipt.id)
        for other in KINDS:
            assert hand.settle(delivery, other).status == "repeated"
        assert bench.record(delivery.receipt.id) == before

    def test_a_retry_is_repeated_though_the_message_is_ready_again(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        hand, delivery = bench.leased()
        hand.settle(delivery, "retry", after=1_000)
        clock.advance(1)
        engine.reap()
        assert bench.state(delivery.receipt.id) == "ready"
        assert hand.settle(delivery, "retry", after=1_000).status == "repeated"
        assert bench.record(delivery.receipt.id).retries == 1

    def test_a_retry_is_repeated_though_the_message_is_leased_again(self, bench: Bench) -> None:
        hand, delivery = bench.leased()
        hand.settle(delivery, "retry")
        again = bench.hand().one("own")
        assert hand.settle(delivery, "retry").status == "repeated"
        assert hand.settle(again).status == "applied"

    def test_an_older_settlement_is_stale_once_a_newer_one_counted(self, bench: Bench) -> None:
        hand, delivery = bench.leased()
        hand.settle(delivery, "retry")
        hand.settle(hand.one("own"), "retry")
        assert hand.settle(delivery, "retry").status == "stale"

    def test_a_settlement_is_repeated_after_a_replay(self, bench: Bench, engine: Engine) -> None:
        hand, delivery = bench.leased()
        hand.settle(delivery, "failed")
        engine.replay(delivery.receipt.id)
        assert hand.settle(delivery, "failed").status == "repeated"
        assert bench.state(delivery.receipt.id) == "ready"

    # --- stale ---

    def test_a_receipt_of_another_owner_is_stale(self, bench: Bench) -> None:
        _, delivery = bench.leased()
        other = bench.hand()
        assert self._is_refused(bench, other, replace(delivery.receipt, owner=other.name))

    def test_a_receipt_of_an_unknown_owner_is_stale(self, bench: Bench) -> None:
        hand, delivery = bench.leased()
        assert self._is_refused(bench, hand, replace(delivery.receipt, owner="nobody"))

    @pytest.mark.parametrize("by", [-1, 1])
    def test_a_receipt_with_another_fence_is_stale(self, bench: Bench, by: int) -> None:
        hand, delivery = bench.leased()
        assert self._is_refused(bench, hand, replace(delivery.receipt, fence=delivery.receipt.fence + by))

    def test_a_message_that_was_never_claimed_cannot_be_settled(self, bench: Bench) -> None:
        id = bench.publish()
        hand = bench.hand()
        for fence in (0, 1):
            assert self._is_refused(bench, hand, Receipt(id, hand.name, fence))

    def test_an_unknown_message_cannot_be_settled(self, bench: Bench) -> None:
        hand = bench.hand()
        assert hand.settle(Receipt("never", hand.name, 1)).status == "stale"
        assert hand.settle(Receipt("never", hand.name, 0)).status == "stale"

    def test_a_delivery_that_was_given_back_is_stale(self, bench: Bench) -> None:
        hand, delivery = bench.leased()
        hand.give_back(delivery)
        assert self._is_refused(bench, hand, delivery.receipt)

    def test_a_delivery_that_was_taken_back_and_claimed_by_another_is_stale(self, bench: Bench) -> None:
        hand, delivery = bench.leased()
        hand.crash()
        newer = bench.hand()
        again = newer.one("own")
        assert self._is_refused(bench, hand, delivery.receipt)
        assert newer.settle(again).status == "applied"
        assert hand.settle(delivery).status == "stale"

    @pytest.mark.parametrize(
        "die", [lambda hand, d: hand.crash(d), lambda hand, d: hand.crash()], ids=["begun", "not"]
    )
    def test_the_delivery_of_a_buried_owner_is_stale(
        self, bench: Bench, die: Callable[[Hand, Delivery], Any]
    ) -> None:
        hand, delivery = bench.leased()
        die(hand, delivery)
        assert self._is_refused(bench, hand, delivery.receipt)

    def test_the_delivery_of_a_reaped_owner_is_stale(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        hand, delivery = bench.leased()
        clock.advance(31)
        engine.reap()
        assert self._is_refused(bench, hand, delivery.receipt)

    def test_an_expired_owner_that_was_not_reaped_may_settle(self, bench: Bench, clock: MovableClock) -> None:
        hand, delivery = bench.leased()
        clock.advance(300)
        assert hand.settle(delivery).status == "applied"

    def test_a_receipt_is_stale_when_the_record_is_gone(self, bench: Bench, engine: Engine) -> None:
        hand, delivery = bench.leased()
        hand.settle(delivery)
        engine.remove(delivery.receipt.id)
        assert hand.settle(delivery).status == "stale"

    @staticmethod
    def _is_refused(bench: Bench, hand: Hand, receipt: Receipt) -> bool:
        """Every kind is stale, and nothing is written: no move, no effect, no follow-up."""
        before = bench.record(receipt.id)
        for kind in KINDS:
            settled = hand.settle(
                receipt, kind, effects=[witness("n")], follow_ups=[follow("next")], value=b"1"
            )
            assert (settled.id, settled.status) == (receipt.id, "stale")
        assert bench.record(receipt.id) == before
        assert bench.value("n") is None
        assert bench.state("next") is None
        return True

    # --- asked to stop, expired ---

    @pytest.mark.parametrize("kind", ["retry", "snooze"])
    def test_a_message_asked_to_stop_is_dropped_instead_of_waiting(
        self, bench: Bench, engine: Engine, kind: Kind
    ) -> None:
        hand, delivery = bench.leased(on_end=(on_end("dropped", witness("ended")),))
        bench.cancel(delivery.receipt.id)
        assert hand.settle(delivery, kind, after=1_000, error=b"e").status == "applied"
        record = bench.record(delivery.receipt.id)
        assert (record.state, record.reason) == ("dropped", "cancelled")
        assert (record.attempt, record.retries, record.snoozes) == (1, 0, 0)
        assert bench.value("ended") == b"1"
        assert hand.settle(delivery, kind).status == "repeated"

    @each_end
    def test_a_message_asked_to_stop_that_ends_by_itself_ends_so(
        self, bench: Bench, engine: Engine, kind: Kind
    ) -> None:
        hand, delivery = bench.leased()
        bench.cancel(delivery.receipt.id)
        hand.settle(delivery, kind, reason="own")
        assert bench.ended(delivery.receipt.id) == (kind, "own")

    @pytest.mark.parametrize("kind", ["retry", "snooze"])
    def test_a_message_that_expired_is_dropped_instead_of_waiting(
        self, bench: Bench, clock: MovableClock, kind: Kind
    ) -> None:
        hand, delivery = bench.leased(expires_in=1_000)
        clock.advance(1)
        assert hand.settle(delivery, kind, after=1_000).status == "applied"
        assert bench.ended(delivery.receipt.id) == ("dropped", "expired")

    def test_a_message_that_expires_after_the_retry_waits_first(
        self, bench: Bench, clock: MovableClock
    ) -> None:
        hand, delivery = bench.leased(expires_in=1_000)
        hand.settle(delivery, "retry", after=5_000)
        assert bench.state(delivery.receipt.id) == "due"
        clock.advance(5)
        assert hand.ids("own") == []
        assert bench.ended(delivery.receipt.id) == ("dropped", "expired")

    # --- many at once ---

    def test_settlements_of_one_call_are_isolated_and_answered_in_order(
        self, bench: Bench, engine: Engine
    ) -> None:
        ids = [bench.publish() for _ in range(4)]
        hand = bench.hand()
        one, two, three, four = hand.take()
        hand.settle(two)
        answers = engine.settle(
            [
                verdict(one),
                verdict(two),
                verdict(replace(three.receipt, fence=1)),
                verdict(Receipt("never", hand.name, 1)),
                verdict(four, "retry", after=1_000),
            ]
        )
        assert [answer.status for answer in answers] == ["applied", "repeated", "stale", "stale", "applied"]
        assert [answer.id for answer in answers] == [*ids[:3], "never", ids[3]]
        assert [bench.state(id) for id in ids] == ["done", "done", "leased", "due"]

    def test_the_same_receipt_twice_in_one_call_counts_once(self, bench: Bench, engine: Engine) -> None:
        _, delivery = bench.leased()
        answers = engine.settle([verdict(delivery, "retry"), verdict(delivery, "done")])
        assert [answer.status for answer in answers] == ["applied", "repeated"]
        assert bench.state(delivery.receipt.id) == "due"

    def test_settling_nothing_answers_nothing(self, bench: Bench, engine: Engine) -> None:
        assert engine.settle([]) == []

    def test_the_books_count_every_ending(self, bench: Bench, engine: Engine) -> None:
        kinds: tuple[Kind, ...] = ("done", "failed", "dropped", "retry", "done")
        for kind in kinds:
            hand, delivery = bench.leased()
            hand.settle(delivery, kind, after=1_000)
            bench.check_books()
        states = engine.audit().states
        assert [states[name] for name in ("done", "failed", "dropped", "due")] == [2, 1, 1, 1]
