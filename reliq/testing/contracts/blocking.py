"""Waiting and waking with real threads, closing, forks: no block is long, no wake is lost."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from reliq.errors import BrokerUnavailable, ForkedConnection
from reliq.ports.broker import Engine
from reliq.ports.values import Claimed, Publication, Receipt, Settlement
from reliq.testing.contracts.base import Contract, MovableClock
from reliq.testing.contracts.bench import Bench, Hand, envelope_of, verdict

SOON = 0.9  # seconds; a wake that was pushed arrives well within the second for which a claim may block
GIVE_UP = 10.0


class Blocking(Contract):
    # --- claim ---

    def test_a_blocked_claim_is_woken_by_a_publish(self, bench: Bench) -> None:
        hand = bench.hand()
        with Blocked(lambda: hand.claim(wait=1.0)) as blocked:
            id = bench.publish()
        assert [d.receipt.id for d in blocked.answer.deliveries] == [id]
        assert blocked.seconds < SOON

    def test_a_blocked_claim_is_woken_by_a_give_back(self, bench: Bench) -> None:
        holder, delivery = bench.leased(queue="q")
        hand = bench.hand()
        with Blocked(lambda: hand.claim(wait=1.0)) as blocked:
            holder.give_back(delivery)
        assert len(blocked.answer.deliveries) == 1
        assert blocked.seconds < SOON

    def test_a_blocked_claim_is_woken_by_a_follow_up_of_a_settlement(self, bench: Bench) -> None:
        from reliq.testing.contracts.bench import follow

        holder, delivery = bench.leased()
        hand = bench.hand()
        with Blocked(lambda: hand.claim(wait=1.0)) as blocked:
            holder.settle(delivery, follow_ups=[follow("next")])
        assert [d.receipt.id for d in blocked.answer.deliveries] == ["next"]
        assert blocked.seconds < SOON

    def test_a_blocked_claim_is_given_what_becomes_due(self, bench: Bench, clock: MovableClock) -> None:
        id = bench.publish(delay=500)
        hand = bench.hand()
        with Blocked(lambda: hand.claim(wait=1.0)) as blocked:
            clock.advance(0.5)
        assert [d.receipt.id for d in blocked.answer.deliveries] == [id]
        assert blocked.seconds < SOON

    def test_a_blocked_claim_is_given_what_a_reap_takes_back(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        holder, delivery = bench.leased(queue="q")
        hand = bench.hand()
        with Blocked(lambda: hand.claim(wait=1.0)) as blocked:
            holder.crash()
        assert [d.receipt.id for d in blocked.answer.deliveries] == [delivery.receipt.id]
        assert blocked.seconds < SOON

    def test_a_blocked_claim_blocks_for_four_seconds_at_most(self, bench: Bench) -> None:
        hand = bench.hand()
        begun = time.monotonic()
        assert hand.claim(wait=30.0).deliveries == ()
        assert 0.9 < time.monotonic() - begun < 5.0

    def test_a_claim_without_wait_does_not_block(self, bench: Bench) -> None:
        hand = bench.hand()
        begun = time.monotonic()
        for _ in range(5):
            assert hand.claim().deliveries == ()
        assert time.monotonic() - begun < SOON

    def test_a_claim_repeated_after_a_lost_reply_does_not_block(self, bench: Bench) -> None:
        bench.publish()
        hand = bench.hand()
        hand.settle(hand.one())
        begun = time.monotonic()
        assert hand.again(wait=1.0).deliveries == ()
        assert time.monotonic() - begun < SOON

    def test_a_blocked_claim_keeps_nobody_from_working(self, bench: Bench, engine: Engine) -> None:
        idle, busy = bench.hand(), bench.hand()
        with Blocked(lambda: idle.claim("idle", wait=1.0)) as blocked:
            for _ in range(20):
                bench.publish()
                busy.settle(busy.one())
            assert engine.audit().states["done"] == 20
        assert blocked.answer.deliveries == ()

    def test_a_blocked_claim_of_an_owner_that_is_buried_ends_without_deliveries(
        self, bench: Bench, engine: Engine
    ) -> None:
        hand = bench.hand()
        with Blocked(lambda: hand.claim(wait=1.0)) as blocked:
            hand.crash()
            id = bench.publish()
        assert (blocked.answer.live, blocked.answer.deliveries) == (False, ())
        assert bench.state(id) == "ready"

    def test_wake_ends_a_blocked_claim_of_its_owner_and_no_other(self, bench: Bench, engine: Engine) -> None:
        woken, other = bench.hand(), bench.hand()
        with Blocked(lambda: other.claim(wait=1.0)) as patient:
            with Blocked(lambda: woken.claim(wait=1.0)) as blocked:
                engine.wake(woken.name)
            assert blocked.seconds < SOON
            assert (blocked.answer.live, blocked.answer.deliveries) == (True, ())
            id = bench.publish()
        assert [d.receipt.id for d in patient.answer.deliveries] == [id]

    def test_a_claim_that_was_woken_leaves_what_comes_later_to_others(
        self, bench: Bench, engine: Engine
    ) -> None:
        woken, other = bench.hand(), bench.hand()
        with Blocked(lambda: woken.claim(wait=1.0)):
            engine.wake(woken.name)
        with Blocked(lambda: other.claim(wait=1.0)) as blocked:
            id = bench.publish()
        assert [d.receipt.id for d in blocked.answer.deliveries] == [id]
        assert blocked.seconds < SOON

    def test_a_claim_after_a_wake_blocks_and_is_given_what_is_published(
        self, bench: Bench, engine: Engine
    ) -> None:
        hand = bench.hand()
        for _ in range(3):
            with Blocked(lambda: hand.claim(wait=1.0)) as blocked:
                engine.wake(hand.name)
            assert blocked.seconds < SOON
        hand.claim()  # one claim may still feel the last wake
        begun = time.monotonic()
        for _ in range(2):
            assert hand.claim(wait=0.3).deliveries == ()
        assert time.monotonic() - begun > 0.25
        with Blocked(lambda: hand.claim(wait=1.0)) as blocked:
            id = bench.publish()
        assert [d.receipt.id for d in blocked.answer.deliveries] == [id]

    def test_a_wake_applies_the_settlements_of_the_claim_it_ends(self, bench: Bench, engine: Engine) -> None:
        hand, delivery = bench.leased()
        with Blocked(lambda: hand.claim(wait=1.0, settlements=[verdict(delivery)])) as blocked:
            engine.wake(hand.name)
        assert [s.status for s in blocked.answer.settled] == ["applied"]
        assert bench.state(delivery.receipt.id) == "done"
        assert blocked.seconds < SOON

    def test_a_wake_where_nobody_waits_does_nothing(self, bench: Bench, engine: Engine) -> None:
        hand = bench.hand()
        bench.publish()
        engine.wake("nobody")
        engine.wake(hand.name)
        assert len(hand.claim().deliveries) == 1
        engine.wake(hand.name)
        bench.check_books()
        engine.close()
        engine.wake(hand.name)
        self._forget(bench)

    def test_of_many_blocked_claims_each_message_wakes_one(self, bench: Bench) -> None:
        hands = [bench.hand() for _ in range(4)]
        calls = [Blocked(_claimer(hand)) for hand in hands]
        for call in calls:
            call.start()
        ids = {bench.publish() for _ in range(4)}
        for call in calls:
            call.join()
        claimed = [d.receipt.id for call in calls for d in call.answer.deliveries]
        assert sorted(claimed) == sorted(ids)

    # --- wait ---

    def test_wait_gives_the_record_as_soon_as_the_message_ended(self, bench: Bench, engine: Engine) -> None:
        hand, delivery = bench.leased()
        with Blocked(lambda: engine.wait(delivery.receipt.id, 5.0)) as blocked:
            hand.settle(delivery, value=b"1")
        assert blocked.answer == bench.record(delivery.receipt.id)
        assert blocked.answer.state == "done"
        assert blocked.seconds < 2.0

    def test_wait_is_woken_by_a_cancel(self, bench: Bench, engine: Engine) -> None:
        id = bench.publish()
        with Blocked(lambda: engine.wait(id, 5.0)) as blocked:
            bench.cancel(id)
        assert blocked.answer.state == "dropped"
        assert blocked.seconds < 2.0

    def test_wait_gives_an_ended_record_at_once(self, bench: Bench, engine: Engine) -> None:
        hand, delivery = bench.leased()
        hand.settle(delivery)
        begun = time.monotonic()
        record = engine.wait(delivery.receipt.id, 30.0)
        assert record is not None
        assert record.state == "done"
        assert time.monotonic() - begun < SOON

    def test_wait_gives_the_record_as_it_stands_when_the_time_is_over(
        self, bench: Bench, engine: Engine
    ) -> None:
        id = bench.publish()
        begun = time.monotonic()
        record = engine.wait(id, 0.05)
        assert record is not None
        assert record.state == "ready"
        assert time.monotonic() - begun < 2.0

    def test_a_wait_ends_when_its_time_is_over_by_the_engines_clock(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        id = bench.publish()
        with Blocked(lambda: engine.wait(id, 8.0)) as blocked:
            clock.advance(9)
        assert blocked.answer.state == "ready"
        assert blocked.seconds < 2.0

    def test_there_is_nothing_to_wait_for_without_a_record(self, bench: Bench, engine: Engine) -> None:
        begun = time.monotonic()
        assert engine.wait("never", 30.0) is None
        assert time.monotonic() - begun < SOON

    # --- many threads ---

    def test_many_threads_share_the_messages_and_each_is_delivered_once(
        self, bench: Bench, engine: Engine
    ) -> None:
        ids = [f"id-{n}" for n in range(120)]
        seen: list[str] = []
        lock = threading.Lock()

        def publish() -> None:
            for id in ids:
                bench.offer(id)

        def work(hand: Hand) -> None:
            until = time.monotonic() + GIVE_UP
            while len(seen) < len(ids) and time.monotonic() < until:
                claimed = hand.claim(limit=7, wait=0.02)
                with lock:
                    seen.extend(d.receipt.id for d in claimed.deliveries)
                assert {s.status for s in engine.settle([verdict(d) for d in claimed.deliveries])} <= {
                    "applied"
                }

        publishers = [threading.Thread(target=publish) for _ in range(2)]
        workers = [threading.Thread(target=work, args=(bench.hand(),)) for _ in range(3)]
        for thread in (*publishers, *workers):
            thread.start()
        for thread in (*publishers, *workers):
            thread.join(2 * GIVE_UP)
        assert sorted(seen) == sorted(ids)
        assert engine.audit().states["done"] == engine.audit().accepted == len(ids)

    # --- close and fork ---

    def test_closing_wakes_who_blocks(self, bench: Bench, engine: Engine) -> None:
        id = bench.publish(queue="unserved")
        bench.check_books()
        hand = bench.hand()
        calls = [
            Blocked(lambda: hand.claim(wait=1.0), tolerate=True),
            Blocked(lambda: engine.wait(id, 30.0), tolerate=True),
        ]
        for call in calls:
            call.start()
        engine.close()
        for call in calls:
            call.join()
            assert call.seconds < 2.0
        self._forget(bench)

    def test_a_closed_engine_cannot_be_used_and_may_be_closed_again(
        self, bench: Bench, engine: Engine
    ) -> None:
        engine.close()
        engine.close()
        for use in (
            lambda: engine.publish([Publication(envelope_of())]),
            lambda: engine.get("x"),
            lambda: engine.store_get("x"),
            engine.audit,
        ):
            with pytest.raises(BrokerUnavailable):
                use()
        self._forget(bench)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_every_call_in_a_fork_is_refused(self, bench: Bench, engine: Engine) -> None:
        id = bench.publish()
        receipt = Receipt(id, "x", 1)
        calls: list[Callable[[], Any]] = [
            lambda: engine.publish([Publication(envelope_of())]),
            lambda: engine.claim("x", ["q"], limit=1, seq=1),
            lambda: engine.settle([Settlement(receipt, "done")]),
            lambda: engine.give_back([receipt]),
            lambda: engine.register("x", 1.0),
            lambda: engine.renew("x", 1.0),
            lambda: engine.bury("x", started=None),
            lambda: engine.reap(),
            lambda: bench.cancel(id),
            lambda: engine.get(id),
            lambda: engine.wait(id, 0.0),
            lambda: engine.store_get("x"),
            lambda: engine.store_put("x", b""),
            engine.audit,
        ]
        child = os.fork()
        if child == 0:
            refused = 0
            for call in calls:
                try:
                    call()
                except ForkedConnection:
                    refused += 1
                except BaseException:
                    break
            os._exit(0 if refused == len(calls) else 1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert bench.state(id) == "ready"

    @staticmethod
    def _forget(bench: Bench) -> None:
        """The engine is closed: its books cannot be looked at when the test is over."""
        bench.check_books = lambda: None  # type: ignore[method-assign]


class Blocked:
    """A call in a thread of its own, begun before the body of the `with`; how long it took after that began."""

    def __init__(self, call: Callable[[], Any], *, tolerate: bool = False) -> None:
        self.answer: Any = None
        self.error: BaseException | None = None
        self._call = call
        self._tolerate = tolerate
        self._begins = threading.Event()
        self._end = 0.0
        self._body = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def seconds(self) -> float:
        return self._end - self._body

    def start(self) -> None:
        self._thread.start()
        self._begins.wait(GIVE_UP)
        # Nothing tells from outside that a call blocks; a moment lets it get there.  If it did not, it does not block
        # at all, which proves less but is no error.
        time.sleep(0.03)
        self._body = time.monotonic()

    def join(self) -> None:
        self._thread.join(GIVE_UP)
        assert not self._thread.is_alive(), "the call still blocks"
        if self.error is not None and not (self._tolerate and isinstance(self.error, BrokerUnavailable)):
            raise self.error

    def __enter__(self) -> Blocked:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.join()

    def _run(self) -> None:
        self._begins.set()
        try:
            self.answer = self._call()
        except BaseException as error:
            self.error = error
        self._end = time.monotonic()


def _claimer(hand: Hand) -> Callable[[], Claimed]:
    return lambda: hand.claim(limit=1, wait=1.0)
