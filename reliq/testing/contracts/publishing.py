"""Publishing: accepted, duplicate or refused; due times, expiries, order."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from reliq.ports.broker import Engine
from reliq.ports.values import Publication, Published
from reliq.testing.contracts.base import Contract, MovableClock
from reliq.testing.contracts.bench import DAY, Bench, envelope_of, on_end, verdict
from reliq.wire.codec import HARD_MAX_MESSAGE, decode
from reliq.wire.message import Absent, Incr


class Publishing(Contract):
    # --- accepted ---

    def test_an_accepted_message_is_ready_and_its_record_says_what_was_published(self, bench: Bench) -> None:
        id = bench.publish(task="shop.mail", queue="mail", priority=0, headers={"a": "b"}, body=b"[[1],{}]")
        record = bench.record(id)
        assert (record.id, record.task, record.queue, record.state) == (id, "shop.mail", "mail", "ready")
        assert (record.attempt, record.retries, record.crashes, record.snoozes, record.life) == (
            0,
            0,
            0,
            0,
            1,
        )
        assert record.due == record.published > 0
        assert (record.reason, record.owner, record.claimed, record.ended, record.value) == (None,) * 5
        envelope = decode(record.payload)
        assert (envelope.id, envelope.headers, envelope.body) == (id, {"a": "b"}, b"[[1],{}]")

    @pytest.mark.parametrize("size", [1, 5_000])
    def test_a_delivery_has_what_was_published_whatever_goes_with_it(self, bench: Bench, size: int) -> None:
        """Alone or with others, with an expiry, a guard, an effect, an end."""
        body = b"x" * size
        kinds: list[dict[str, Any]] = [
            {},
            {"expires_in": 60_000},
            {"delay": 0},
            {"guards": [Absent("key")]},
            {"effects": [Incr("n")]},
            {"on_end": (on_end("any", Incr("m")),)},
        ]
        for kind in kinds:
            hand, delivery = bench.leased(body=body, **kind)
            assert decode(delivery.payload).body == body
            hand.settle(delivery)

    def test_every_publication_has_its_answer_in_order(self, bench: Bench, engine: Engine) -> None:
        answers = engine.publish([Publication(envelope_of(f"id-{n}")) for n in range(5)])
        assert answers == [Published(f"id-{n}", "accepted") for n in range(5)]

    def test_one_that_has_no_encoding_is_refused_and_its_neighbours_are_not(self, engine: Engine) -> None:
        odd = Publication(envelope_of("half \udc80"))
        before, answer, after = engine.publish(
            [Publication(envelope_of("a")), odd, Publication(envelope_of("b"))]
        )
        assert (before.status, answer.status, after.status) == ("accepted", "refused", "accepted")
        assert answer.error
        assert engine.audit().accepted == 2

    def test_publishing_nothing_does_nothing(self, engine: Engine) -> None:
        assert engine.publish([]) == []
        assert engine.audit().accepted == 0

    def test_accepted_is_counted(self, bench: Bench, engine: Engine) -> None:
        for _ in range(3):
            bench.publish()
        assert engine.audit().accepted == 3
        assert engine.audit().states["ready"] == 3

    # --- duplicates ---

    def test_a_live_id_is_a_duplicate_in_whatever_state(self, bench: Bench, engine: Engine) -> None:
        bench.publish("waits")
        bench.publish("later", delay=60_000)
        bench.leased("runs")
        for id in ("waits", "later", "runs"):
            before = bench.record(id)
            assert bench.offer(id, task="other", queue="other").status == "duplicate"
            assert bench.record(id) == before
        assert engine.audit().accepted == 3

    @pytest.mark.parametrize("kind", ["done", "failed", "dropped"])
    def test_an_ended_id_is_a_duplicate_while_its_record_is_kept(self, bench: Bench, kind: Any) -> None:
        hand, delivery = bench.leased("ended")
        hand.settle(delivery, kind)
        assert bench.offer("ended").status == "duplicate"
        assert bench.state("ended") == kind

    def test_later_items_of_a_call_see_earlier_ones(self, bench: Bench, engine: Engine) -> None:
        first, second = envelope_of("twice", body=b"[[1],{}]"), envelope_of("twice", body=b"[[2],{}]")
        answers = engine.publish([Publication(first), Publication(second)])
        assert [answer.status for answer in answers] == ["accepted", "duplicate"]
        assert decode(bench.record("twice").payload).body == b"[[1],{}]"

    @pytest.mark.parametrize("fields", [{}, {"delay": 0}], ids=["plain", "with a delay"])
    def test_a_duplicate_among_others_is_told_wherever_it_stands(
        self, bench: Bench, engine: Engine, fields: dict[str, Any]
    ) -> None:
        bench.publish("known")
        for ids in (["known", "a", "b"], ["c", "known", "d"], ["e", "f", "known"], ["g", "g", "h"]):
            answers = engine.publish([Publication(envelope_of(id, **fields)) for id in ids])
            told = [
                "duplicate" if id == "known" or id in ids[:at] else "accepted" for at, id in enumerate(ids)
            ]
            assert [answer.status for answer in answers] == told

    def test_a_purged_id_is_a_duplicate_for_60_seconds_from_acceptance(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        hand, delivery = bench.leased("short", keep=0)
        hand.settle(delivery)
        clock.advance(59.9)
        engine.reap()
        assert engine.get("short") is None
        assert bench.offer("short").status == "duplicate"
        clock.advance(0.1)
        engine.reap()
        assert bench.offer("short").status == "accepted"

    def test_a_purged_id_is_a_duplicate_among_others_too(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        hand, delivery = bench.leased("again", keep=1_000)
        hand.settle(delivery)
        clock.advance(2)
        engine.reap()
        assert engine.get("again") is None
        for n, status in enumerate(("duplicate", "accepted")):
            some = [Publication(envelope_of(id)) for id in (f"a-{n}", "again", f"b-{n}")]
            assert [answer.status for answer in engine.publish(some)] == ["accepted", status, "accepted"]
            clock.advance(60)

    @pytest.mark.parametrize("fields", [{}, {"delay": 0}], ids=["plain", "with a delay"])
    def test_a_purged_chosen_id_is_a_duplicate_for_24_hours_from_acceptance(
        self, bench: Bench, engine: Engine, clock: MovableClock, fields: dict[str, Any]
    ) -> None:
        hand, delivery = bench.leased("order-7", keep=0, chosen=True)
        hand.settle(delivery)
        clock.advance(DAY - 1)
        engine.reap()
        assert engine.get("order-7") is None
        assert bench.offer("order-7", chosen=True, **fields).status == "duplicate"
        clock.advance(1)
        assert bench.offer("order-7", chosen=True, **fields).status == "accepted"

    def test_an_id_is_a_duplicate_as_long_as_its_record_is_kept_even_after_its_window(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        hand, delivery = bench.leased("long", keep=600_000)
        hand.settle(delivery)
        clock.advance(599)
        engine.reap()
        assert bench.offer("long").status == "duplicate"
        clock.advance(1)
        engine.reap()
        assert bench.offer("long").status == "accepted"

    def test_the_window_of_a_live_message_never_ends(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        bench.publish("patient")
        clock.advance(30 * DAY)
        engine.reap()
        assert bench.offer("patient").status == "duplicate"

    # --- refused ---

    def test_a_message_over_the_hard_limit_is_refused_and_nothing_is_written(
        self, bench: Bench, engine: Engine
    ) -> None:
        answers = engine.publish(
            [
                Publication(envelope_of("before")),
                Publication(envelope_of("huge", body=b"x" * (HARD_MAX_MESSAGE + 1))),
                Publication(envelope_of("after")),
            ]
        )
        assert [answer.status for answer in answers] == ["accepted", "refused", "accepted"]
        assert answers[1].error
        assert answers[1].found is None
        assert engine.get("huge") is None
        assert engine.audit().accepted == 2
        assert bench.offer("huge").status == "accepted"

    # --- due ---

    def test_a_message_with_an_eta_in_the_future_is_due_then(
        self, bench: Bench, clock: MovableClock, engine: Engine
    ) -> None:
        eta = clock.now_ms() + 5_000
        record = bench.record(bench.publish(eta=eta))
        assert (record.state, record.due, record.published) == ("due", eta, clock.now_ms())

    def test_a_delay_counts_from_acceptance(self, bench: Bench, clock: MovableClock, engine: Engine) -> None:
        record = bench.record(bench.publish(delay=1_500))
        assert (record.state, record.due) == ("due", clock.now_ms() + 1_500)

    def test_an_eta_in_the_past_runs_now(self, bench: Bench, clock: MovableClock) -> None:
        id = bench.publish(eta=clock.now_ms() - 1_000)
        assert (bench.state(id), bench.record(id).due) == ("ready", clock.now_ms())
        assert bench.hand().ids() == [id]

    def test_a_delay_of_nothing_runs_now(self, bench: Bench) -> None:
        assert bench.state(bench.publish(delay=0)) == "ready"

    # --- expiry ---

    def test_expires_can_count_from_the_epoch_from_acceptance_and_from_the_due_time(
        self, bench: Bench, clock: MovableClock
    ) -> None:
        now = clock.now_ms()
        assert bench.record(bench.publish(expires=now + 70)).expires == now + 70
        assert bench.record(bench.publish(expires_in=80)).expires == now + 80
        assert bench.record(bench.publish(delay=500, expires_after_due=90)).expires == now + 590
        assert bench.record(bench.publish()).expires is None

    def test_the_earliest_of_several_expiries_counts(self, bench: Bench, clock: MovableClock) -> None:
        now, delay = clock.now_ms(), 500
        for at, within, after in product((None, 300, 550, 900), (None, 350, 570, 950), (None, 60, 420)):
            id = bench.publish(
                delay=delay,
                expires=None if at is None else now + at,
                expires_in=within,
                expires_after_due=after,
            )
            all = (at, within, None if after is None else delay + after)
            first = min((now + each for each in all if each is not None), default=None)
            assert bench.record(id).expires == first, (at, within, after)

    def test_a_message_published_after_its_expiry_is_accepted_and_then_dropped(
        self, bench: Bench, clock: MovableClock
    ) -> None:
        id = bench.publish(expires=clock.now_ms() - 1)
        assert bench.hand().ids() == []
        assert bench.ended(id) == ("dropped", "expired")

    # --- order ---

    def test_messages_come_in_the_order_of_acceptance(self, bench: Bench) -> None:
        ids = [bench.publish() for _ in range(20)]
        assert bench.hand().ids(limit=20) == ids

    def test_guards_and_effects_change_nothing_about_the_order(self, bench: Bench) -> None:
        bench.publish("d", guards=[Absent("key")])
        bench.publish("c")
        bench.publish("b", effects=[Incr("n")])
        bench.publish("a", guards=[Absent("key")])
        assert bench.hand().ids() == ["d", "c", "b", "a"]

    def test_the_highest_priority_comes_first_and_within_one_the_first_accepted(
        self, bench: Bench, engine: Engine
    ) -> None:
        order = [(3, "a"), (9, "b"), (0, "c"), (9, "d"), (3, "e"), (0, "f")]
        for priority, id in order:
            bench.publish(id, priority=priority)
        hand = bench.hand()
        assert hand.ids(limit=3) == ["b", "d", "a"]
        assert hand.ids(limit=9) == ["e", "c", "f"]

    def test_a_settled_message_was_accepted_once_however_often_it_was_published(
        self, bench: Bench, engine: Engine
    ) -> None:
        hand, delivery = bench.leased("again")
        for _ in range(3):
            bench.offer("again")
        engine.settle([verdict(delivery)])
        bench.offer("again")
        assert hand.ids("own", "q") == []
        assert engine.audit().accepted == 1
