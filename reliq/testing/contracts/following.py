"""Follow-ups: published once, by the step that they follow from."""

from __future__ import annotations

import pytest

from reliq.ports.broker import Engine
from reliq.testing.contracts.base import Contract, MovableClock
from reliq.testing.contracts.bench import Bench, Kind, envelope_of, follow, needs, on_end, verdict
from reliq.wire.codec import HARD_MAX_MESSAGE, decode
from reliq.wire.message import Add, FollowUp, Remove


class Following(Contract):
    @pytest.mark.parametrize("kind", ["done", "failed", "dropped", "retry", "snooze"])
    def test_a_settlement_publishes_its_follow_ups(self, bench: Bench, engine: Engine, kind: Kind) -> None:
        hand, delivery = bench.leased()
        hand.settle(delivery, kind, follow_ups=[follow("b", queue="next"), follow("a", queue="next")])
        bench.publish("0", queue="next")
        assert bench.hand().ids("next") == ["b", "a", "0"]
        assert engine.audit().accepted == 4

    def test_a_follow_up_is_published_once_though_its_settlement_was_sent_twice(self, bench: Bench) -> None:
        hand, delivery = bench.leased()
        for _ in range(2):
            hand.settle(delivery, follow_ups=[follow("next", queue="next")])
        taker = bench.hand()
        taker.settle(taker.one("next"))
        hand.settle(delivery, follow_ups=[follow("next", queue="next")])
        assert taker.ids("next") == []

    def test_a_follow_up_that_was_accepted_before_is_skipped(self, bench: Bench, engine: Engine) -> None:
        bench.publish("next", queue="next", body=b"[[1],{}]")
        hand, delivery = bench.leased()
        assert hand.settle(delivery, follow_ups=[follow("next", body=b"[[2],{}]")]).status == "applied"
        assert decode(bench.record("next").payload).body == b"[[1],{}]"
        assert engine.audit().accepted == 2

    def test_a_follow_up_whose_record_is_gone_is_skipped_in_its_window(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        hand, first = bench.leased("next")
        hand.settle(first)
        engine.remove("next")
        hand, delivery = bench.leased()
        hand.settle(delivery, "retry", follow_ups=[follow("next")])
        assert bench.state("next") is None
        clock.advance(60)
        hand.settle(hand.one("own"), follow_ups=[follow("next")])
        assert bench.state("next") == "ready"

    def test_a_follow_up_can_wait(self, bench: Bench, clock: MovableClock) -> None:
        hand, delivery = bench.leased()
        clock.advance(5)
        hand.settle(delivery, follow_ups=[follow("later", delay=1_000, expires_after_due=500)])
        record = bench.record("later")
        assert (record.state, record.due) == ("due", clock.now_ms() + 1_000)
        assert record.expires == clock.now_ms() + 1_500

    def test_a_follow_up_in_the_queue_of_the_same_claim_is_claimed_by_it(self, bench: Bench) -> None:
        bench.publish()
        hand = bench.hand()
        claimed = hand.claim(settlements=[verdict(hand.one(), follow_ups=[follow("next")])])
        assert [delivery.receipt.id for delivery in claimed.deliveries] == ["next"]

    # --- what it takes ---

    @pytest.mark.parametrize(
        ("body", "value", "spliced"),
        [
            (b"[[],{}]", b"7", b"[[7],{}]"),
            (b'[[1],{"k":2}]', b'{"a":[1]}', b'[[{"a":[1]},1],{"k":2}]'),
            (b"[[1],{}]", None, b"[[null,1],{}]"),
            (b"[[1],{}]", b"", b"[[null,1],{}]"),
            (b'{"a":1}', b"7", b'{"a":1}'),
        ],
    )
    def test_a_follow_up_that_takes_the_result_has_it_first(
        self, bench: Bench, body: bytes, value: bytes | None, spliced: bytes
    ) -> None:
        hand, delivery = bench.leased()
        hand.settle(delivery, value=value, follow_ups=[follow("next", takes="result", body=body)])
        assert decode(bench.record("next").payload).body == spliced

    @pytest.mark.parametrize("id", ["plain", 'a "quoted" one', "back\\slash", "ünïcode"])
    def test_a_follow_up_that_takes_the_id_has_it_first_as_text(self, bench: Bench, id: str) -> None:
        import json

        hand, delivery = bench.leased(id)
        hand.settle(delivery, "failed", follow_ups=[follow("next", takes="id", body=b"[[1],{}]")])
        assert json.loads(decode(bench.record("next").payload).body) == [[id, 1], {}]

    def test_a_follow_up_that_takes_nothing_is_as_it_was(self, bench: Bench) -> None:
        hand, delivery = bench.leased()
        hand.settle(delivery, value=b"7", follow_ups=[follow("next", body=b"[[1],{}]", headers={"a": "b"})])
        envelope = decode(bench.record("next").payload)
        assert (envelope.body, envelope.headers) == (b"[[1],{}]", {"a": "b"})

    def test_a_follow_up_on_end_takes_the_result_even_if_that_is_not_kept(self, bench: Bench) -> None:
        after = FollowUp(envelope_of("next"), "result")
        hand, delivery = bench.leased(keep_result=False, on_end=(on_end("done", follow_ups=[after]),))
        hand.settle(delivery, value=b"42")
        assert decode(bench.record("next").payload).body == b"[[42],{}]"

    def test_a_follow_up_on_an_end_without_a_result_takes_null(self, bench: Bench, engine: Engine) -> None:
        after = FollowUp(envelope_of("next"), "result")
        bench.publish("m", on_end=(on_end("any", follow_ups=[after]),))
        bench.cancel("m")
        assert decode(bench.record("next").payload).body == b"[[null],{}]"

    @pytest.mark.parametrize("size", [10, 300, 70_000])
    def test_a_result_of_any_size_is_taken_whole(self, bench: Bench, size: int) -> None:
        hand, delivery = bench.leased()
        value = b'"%s"' % (b"x" * size)
        hand.settle(delivery, value=value, follow_ups=[follow("next", takes="result", body=b"[[1],{}]")])
        assert decode(bench.record("next").payload).body == b"[[%s,1],{}]" % value

    def test_a_follow_up_that_grew_too_large_is_not_lost(self, bench: Bench) -> None:
        hand, delivery = bench.leased()
        value = b'"%s"' % (b"x" * HARD_MAX_MESSAGE)
        hand.settle(delivery, value=value, follow_ups=[follow("next", takes="result")])
        assert bench.state("next") == "ready"

    def test_a_follow_up_whose_body_takes_nothing_is_published_as_it_is(self, bench: Bench) -> None:
        hand, delivery = bench.leased()
        hand.settle(delivery, value=b"1", follow_ups=[follow("next", takes="result", body=b"damaged")])
        assert decode(bench.record("next").payload).body == b"damaged"

    # --- on_end ---

    def test_on_end_publishes_for_its_class_and_for_any(self, bench: Bench) -> None:
        ends = tuple(on_end(on, follow_ups=[follow(on)]) for on in ("done", "failed", "dropped", "any"))
        hand, delivery = bench.leased(on_end=ends)
        hand.settle(delivery, "failed")
        assert [bench.state(id) for id in ("done", "failed", "dropped", "any")] == [
            None,
            "ready",
            None,
            "ready",
        ]

    def test_a_chain_of_follow_ups_runs_to_its_end(self, bench: Bench) -> None:
        third = follow("third", takes="result")
        second = FollowUp(envelope_of("second", on_end=(on_end("done", follow_ups=[third]),)), "result")
        bench.publish("first", on_end=(on_end("done", follow_ups=[second]),))
        hand = bench.hand()
        for id, value in (("first", b"1"), ("second", b"2"), ("third", b"3")):
            delivery = hand.one()
            assert delivery.receipt.id == id
            hand.settle(delivery, value=value)
        assert decode(bench.record("second").payload).body == b"[[1],{}]"
        assert decode(bench.record("third").payload).body == b"[[2],{}]"

    def test_what_a_publish_ends_may_be_followed_by_the_message_that_it_publishes(
        self, bench: Bench, clock: MovableClock
    ) -> None:
        """It was accepted with that end, so it is a duplicate."""
        needs(bench.engine, "engine")
        ends = on_end("any", Remove("key", holder="expired"), follow_ups=[follow("next", queue="q")])
        lock = Add("key", holder="expired")
        bench.publish("expired", delay=9_000, expires_in=2_000, guards=[lock], on_end=(ends,))
        clock.advance(3)
        assert bench.offer("next", queue="other", guards=[Add("key", holder="next")]).status == "duplicate"
        assert (bench.value("key"), bench.record("next").queue) == (None, "q")
        hand = bench.hand()
        assert (hand.ids("other"), hand.ids("q")) == ([], ["next"])
        bench.check_books()
