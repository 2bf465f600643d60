"""Guards: checked before anything is written; one that is refused refuses the whole and tells what it found."""

from __future__ import annotations

import pytest

from reliq.ports import records
from reliq.ports.broker import Engine
from reliq.ports.values import Publication, Value
from reliq.testing.contracts.base import Contract, MovableClock
from reliq.testing.contracts.bench import Bench, envelope_of, on_end, witness
from reliq.wire.message import Absent, Add, AtVersion, Equals, Guard, Leased, NotLeased, Put, Remove


class Guards(Contract):
    # --- a refusal ---

    def test_a_refused_item_writes_nothing(self, bench: Bench, engine: Engine) -> None:
        engine.store_put("taken", b"1")
        answer = bench.offer("m", guards=[Add("free"), Absent("taken")], effects=[Put("effect")])
        assert (answer.id, answer.status) == ("m", "refused")
        assert (engine.get("m"), bench.value("free"), bench.value("effect")) == (None, None, None)
        assert engine.audit().accepted == 0
        assert bench.offer("m").status == "accepted"

    def test_a_refusal_tells_the_guard_and_the_record_it_found(self, bench: Bench, engine: Engine) -> None:
        value = engine.store_put("key", b"data")
        guard = Absent("key")
        found = bench.offer(guards=[guard]).found
        assert found is not None
        assert (found.guard, found.value, found.state) == (guard, value, None)

    def test_a_refusal_tells_the_state_of_the_holder(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        holder = bench.publish(delay=5_000, guards=[Add("key", holder="h")], id="h")
        found = bench.offer(guards=[Add("key", holder="other")]).found
        assert found is not None
        assert found.value is not None
        assert (found.value.holder, found.state, found.due) == (holder, "due", clock.now_ms() + 5_000)

    def test_the_first_guard_that_is_refused_is_told(self, bench: Bench, engine: Engine) -> None:
        engine.store_put("a", b"")
        engine.store_put("b", b"")
        found = bench.offer(guards=[Absent("c"), Absent("b"), Absent("a")]).found
        assert found is not None
        assert found.guard == Absent("b")

    def test_items_are_isolated_and_later_ones_see_what_earlier_ones_took(
        self, bench: Bench, engine: Engine
    ) -> None:
        def item(id: str, key: str) -> Publication:
            return Publication(envelope_of(id), guards=(Add(key, holder=id),))

        answers = engine.publish([item("a", "x"), item("b", "x"), item("c", "y"), item("a", "y")])
        assert [answer.status for answer in answers] == ["accepted", "refused", "accepted", "duplicate"]
        assert engine.audit().accepted == 2

    def test_a_duplicate_looks_at_no_guard_and_applies_no_effect(self, bench: Bench, engine: Engine) -> None:
        bench.publish("m")
        engine.store_put("taken", b"")
        answer = bench.offer("m", guards=[Absent("taken"), Add("new")], effects=[Put("effect")])
        assert (answer.status, answer.found) == ("duplicate", None)
        assert (bench.value("new"), bench.value("effect")) == (None, None)

    def test_a_publish_made_twice_is_accepted_once_and_keeps_its_lock(
        self, bench: Bench, engine: Engine
    ) -> None:
        publication = Publication(envelope_of("m"), guards=(Add("lock", holder="m"),))
        assert [engine.publish([publication])[0].status for _ in range(2)] == ["accepted", "duplicate"]
        assert engine.store_get("lock") == Value(b"", 1, None, "m")

    # --- the plain ones ---

    def test_absent(self, bench: Bench, engine: Engine, clock: MovableClock) -> None:
        assert self._holds(engine, Absent("key"))
        engine.store_put("key", b"", ttl=1.0)
        assert not self._holds(engine, Absent("key"))
        clock.advance(1)
        assert self._holds(engine, Absent("key"))

    def test_equals(self, bench: Bench, engine: Engine, clock: MovableClock) -> None:
        assert not self._holds(engine, Equals("key", b""))
        engine.store_put("key", b"1", ttl=1.0)
        assert self._holds(engine, Equals("key", b"1"))
        assert not self._holds(engine, Equals("key", b"2"))
        clock.advance(1)
        assert not self._holds(engine, Equals("key", b"1"))

    def test_at_version(self, bench: Bench, engine: Engine, clock: MovableClock) -> None:
        assert self._holds(engine, AtVersion("key", 0))
        assert not self._holds(engine, AtVersion("key", 1))
        engine.store_put("key", b"1")
        engine.store_put("key", b"2", ttl=1.0)
        assert self._holds(engine, AtVersion("key", 2))
        assert not self._holds(engine, AtVersion("key", 1))
        assert not self._holds(engine, AtVersion("key", 0))
        clock.advance(1)
        assert self._holds(engine, AtVersion("key", 0))

    def test_not_leased(self, bench: Bench, engine: Engine) -> None:
        assert self._holds(engine, NotLeased("m"))
        bench.publish("m")
        assert self._holds(engine, NotLeased("m"))
        hand = bench.hand()
        delivery = hand.one()
        found = engine.apply([NotLeased("m")], []).found
        assert found is not None
        assert (found.state, found.value) == ("leased", None)
        hand.settle(delivery)
        assert self._holds(engine, NotLeased("m"))

    def test_leased_holds_for_the_run_that_has_the_message_and_for_no_other(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        bench.publish("m")
        assert not self._holds(engine, Leased("m", 0))
        first = bench.hand()
        delivery = first.one()
        fence = delivery.receipt.fence
        assert self._holds(engine, Leased("m", fence))
        assert not self._holds(engine, Leased("m", fence + 1))
        engine.bury(first.name, started=[])
        found = engine.apply([Leased("m", fence)], []).found
        assert found is not None
        assert (found.state, found.value) == ("ready", None)
        second = bench.hand()
        again = second.one()
        assert not self._holds(engine, Leased("m", fence))
        assert self._holds(engine, Leased("m", again.receipt.fence))
        second.settle(again)
        assert not self._holds(engine, Leased("m", again.receipt.fence))
        found = engine.apply([Leased("nobody", fence)], []).found
        assert found is not None
        assert (found.state, found.value, found.due) == (None, None, None)

    def test_a_publish_by_a_run_that_lost_its_message_is_refused(self, bench: Bench, engine: Engine) -> None:
        hand, delivery = bench.leased("m")
        guard = Leased("m", delivery.receipt.fence)
        bench.publish("child", guards=[guard])
        hand.settle(delivery)
        answer = bench.offer("late child", guards=[guard], effects=[Put("effect")])
        assert answer.found is not None
        assert (answer.status, answer.found.guard, answer.found.state) == ("refused", guard, "done")
        assert bench.value("effect") is None

    @staticmethod
    def _holds(engine: Engine, guard: Guard) -> bool:
        """Whether the guard lets an `apply` pass; nothing is written by one that is refused."""
        applied = engine.apply([guard], [Put("written", ttl=0)])
        assert applied.ok is (applied.found is None)
        assert bool(applied.found is None or applied.found.guard == guard)
        return applied.ok

    # --- add ---

    def test_add_takes_a_free_key(self, bench: Bench, engine: Engine, clock: MovableClock) -> None:
        bench.publish("m", guards=[Add("key", b"data", ttl=2_000, holder="m")])
        assert engine.store_get("key") == Value(b"data", 1, clock.now_ms() + 2_000, "m")

    def test_add_refuses_a_key_that_a_live_message_holds(self, bench: Bench, engine: Engine) -> None:
        for state in ("ready", "due", "leased"):
            bench.publish(state, queue=state, delay=9_000 if state == "due" else None)
            engine.store_put(f"by {state}", b"", holder=state)
        bench.hand().one("leased")
        for state in ("ready", "due", "leased"):
            found = bench.offer(guards=[Add(f"by {state}", holder="new")]).found
            assert found is not None
            assert found.state == state

    def test_add_takes_a_lapsed_key(self, bench: Bench, engine: Engine, clock: MovableClock) -> None:
        bench.publish("m", guards=[Add("key", ttl=1_000, holder="m")])
        clock.advance(0.999)
        assert bench.offer("n", guards=[Add("key", holder="n")]).status == "refused"
        clock.advance(0.001)
        assert bench.offer("n", guards=[Add("key", holder="n")]).status == "accepted"
        assert engine.store_get("key") == Value(b"", 1, None, "n")

    def test_a_lapsed_key_is_held_while_its_holder_is_leased(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        bench.publish("m", guards=[Add("key", ttl=1_000, holder="m")])
        hand = bench.hand()
        delivery = hand.one()
        clock.advance(20)
        assert bench.value("key") == b""
        assert bench.offer("n", guards=[Add("key", holder="n")]).status == "refused"
        assert bench.offer("n", guards=[Add("key", holder="n", or_dead=False)]).status == "refused"
        assert not self._holds(engine, Absent("key"))
        hand.settle(delivery, "retry")
        assert bench.value("key") is None
        assert bench.offer("n", guards=[Add("key", holder="n")]).status == "accepted"

    @pytest.mark.parametrize("kind", ["done", "failed", "dropped"])
    def test_add_takes_the_key_of_an_ended_message(self, bench: Bench, engine: Engine, kind: str) -> None:
        hand, delivery = bench.leased("m", guards=[Add("key", holder="m")])
        hand.settle(delivery, kind)  # type: ignore[arg-type]
        assert bench.value("key") == b""
        assert bench.offer(guards=[Add("key", holder="n", or_dead=False)]).status == "refused"
        assert bench.offer(guards=[Add("key", holder="n")]).status == "accepted"
        assert engine.store_get("key") == Value(b"", 2, None, "n")

    def test_an_expired_message_that_nobody_has_reaped_ends_before_it_stands_in_the_way(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        frees = on_end("any", Remove("key", holder="h"), Put("said", b"h"))
        bench.publish(id="h", expires_in=5_000, guards=[Add("key", holder="h")], on_end=(frees,))
        clock.advance(4.9)
        assert bench.offer(guards=[Add("key", holder="other")]).status == "refused"
        clock.advance(0.2)
        assert bench.offer("next", guards=[Add("key", holder="next"), Absent("none")]).status == "accepted"
        record, value = engine.get("h"), engine.store_get("key")
        assert record is not None
        assert (record.state, record.reason) == ("dropped", "expired")
        assert value is not None
        assert value.holder == "next"
        assert bench.value("said") == b"h"
        assert engine.audit().balanced

    def test_a_key_that_outlives_its_expired_message_is_still_taken(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        bench.publish(id="h", expires_in=5_000, guards=[Add("key", holder="h")])
        clock.advance(6)
        found = bench.offer(guards=[Add("key", holder="other", or_dead=False)]).found
        assert found is not None
        assert (found.state, found.value and found.value.holder) == ("dropped", "h")
        assert bench.offer(guards=[Absent("key")]).status == "refused"
        assert engine.audit().balanced

    def test_add_takes_the_key_of_a_message_that_was_never_accepted(
        self, bench: Bench, engine: Engine
    ) -> None:
        engine.store_put("key", b"", holder="never")
        assert bench.offer(guards=[Add("key", holder="n", or_dead=False)]).status == "refused"
        assert bench.offer(guards=[Add("key", holder="n")]).status == "accepted"

    def test_add_takes_the_key_of_a_message_whose_record_is_gone(self, bench: Bench, engine: Engine) -> None:
        hand, delivery = bench.leased("m", guards=[Add("key", holder="m")])
        hand.settle(delivery)
        engine.remove("m")
        assert bench.offer(guards=[Add("key", holder="n")]).status == "accepted"

    def test_add_refuses_a_key_that_nobody_holds(self, bench: Bench, engine: Engine) -> None:
        engine.store_put("key", b"")
        for guard in (Add("key"), Add("key", holder="n")):
            assert bench.offer(guards=[guard]).status == "refused"

    def test_nobody_is_not_a_holder_that_takes_its_key_again(self, bench: Bench) -> None:
        bench.publish(guards=[Add("key")])
        assert bench.offer(guards=[Add("key")]).status == "refused"

    def test_a_holder_takes_its_key_again(self, bench: Bench, engine: Engine, clock: MovableClock) -> None:
        bench.publish("m", guards=[Add("key", b"1", ttl=1_000, holder="m")])
        clock.advance(0.5)
        assert (
            bench.offer("other", guards=[Add("key", b"2", ttl=1_000, holder="m", or_dead=False)]).status
            == "accepted"
        )
        assert engine.store_get("key") == Value(b"2", 2, clock.now_ms() + 1_000, "m")

    def test_from_due_counts_the_ttl_from_the_due_time(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        now = clock.now_ms()
        bench.publish("later", delay=5_000, guards=[Add("a", ttl=1_000, holder="later", from_due=True)])
        bench.publish("now", guards=[Add("b", ttl=1_000, holder="now", from_due=True)])
        bench.publish("plain", delay=5_000, guards=[Add("c", ttl=1_000, holder="plain")])
        engine.apply([Add("d", ttl=1_000, from_due=True)], [])
        assert [value.expires for _, value in sorted(records(engine, ""))] == [
            now + 6_000,
            now + 1_000,
            now + 1_000,
            now + 1_000,
        ]

    def test_a_message_that_holds_its_own_key_is_no_obstacle_to_itself(
        self, bench: Bench, engine: Engine
    ) -> None:
        bench.publish("m", guards=[Add("key", holder="m")])
        hand = bench.hand()
        delivery = hand.one()
        assert engine.apply([Add("key", b"running", holder="m")], []).ok
        hand.settle(delivery, "retry")
        assert engine.apply([Add("key", b"waiting", holder="m")], []).ok

    # --- apply ---

    def test_apply_writes_guards_and_effects_or_nothing(self, bench: Bench, engine: Engine) -> None:
        engine.store_put("taken", b"")
        refused = engine.apply([Add("new"), Add("taken")], [Put("effect")])
        assert (refused.ok, refused.found is not None and refused.found.guard) == (False, Add("taken"))
        assert (bench.value("new"), bench.value("effect")) == (None, None)
        assert engine.apply([Add("new")], [Put("effect")]).ok
        assert (bench.value("new"), bench.value("effect")) == (b"", b"")

    def test_guards_are_checked_before_any_of_them_is_written(self, bench: Bench, engine: Engine) -> None:
        assert engine.apply([Add("key", b"1"), Absent("key")], []).ok
        assert bench.value("key") == b"1"

    # --- the newest wins ---

    def test_add_with_replaces_drops_the_holder_that_waits_and_takes_its_key(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        for delay in (None, 5_000):
            old = bench.publish(
                delay=delay, guards=[Add("key", holder="x")], on_end=(on_end("dropped", witness("ended")),)
            )
            engine.store_put("key", b"", holder=old)
            new = bench.publish(guards=[Add("key", b"new", ttl=1_000, holder="new", replaces="replaced")])
            assert bench.ended(old) == ("dropped", "replaced")
            assert engine.store_get("key") == Value(b"new", 3, clock.now_ms() + 1_000, "new")
            assert bench.state(new) == "ready"
            engine.store_drop("key")
        assert bench.value("ended") == b"2"
        bench.check_books()

    def test_on_end_of_a_replaced_message_comes_after_the_effects_and_leaves_the_new_holder_its_key(
        self, bench: Bench, engine: Engine
    ) -> None:
        frees = on_end("any", Remove("key", holder="old"), Put("order", b"on_end"))
        bench.publish("old", guards=[Add("key", holder="old")], on_end=(frees,))
        guard = Add("key", holder="new", replaces="replaced")
        bench.publish("new", guards=[guard], effects=[Put("order", b"effect")])
        value = engine.store_get("key")
        assert value is not None
        assert (value.holder, bench.value("order")) == ("new", b"on_end")

    def test_add_with_replaces_refuses_while_the_holder_is_leased(self, bench: Bench, engine: Engine) -> None:
        bench.publish("old", guards=[Add("key", holder="old")])
        delivery = bench.hand().one()
        answer = bench.offer(guards=[Add("key", holder="new", replaces="replaced")])
        assert answer.found is not None
        assert (answer.status, answer.found.state) == ("refused", "leased")
        assert engine.held(delivery.receipt.owner) == [delivery.receipt]

    def test_add_with_or_leased_takes_the_key_of_a_leased_message_that_runs_on(
        self, bench: Bench, engine: Engine
    ) -> None:
        bench.publish(
            "old", guards=[Add("key", holder="old")], on_end=(on_end("any", Remove("key", holder="old")),)
        )
        hand = bench.hand()
        delivery = hand.one()
        bench.publish("new", guards=[Add("key", holder="new", replaces="replaced", or_leased=True)])
        assert hand.settle(delivery).status == "applied"
        value = engine.store_get("key")
        assert value is not None
        assert value.holder == "new"

    def test_add_with_or_leased_alone_refuses_while_the_holder_waits(
        self, bench: Bench, engine: Engine
    ) -> None:
        bench.publish("old", guards=[Add("key", holder="old")])
        found = bench.offer(guards=[Add("key", holder="new", or_leased=True)]).found
        assert found is not None
        assert (found.state, bench.state("old")) == ("ready", "ready")

    def test_a_key_that_nobody_holds_and_one_of_the_dead_are_not_taken_over(
        self, bench: Bench, engine: Engine
    ) -> None:
        engine.store_put("nobody's", b"")
        engine.store_put("dead", b"", holder="never accepted")
        for key in ("nobody's", "dead"):
            guard = Add(key, holder="new", replaces="replaced", or_leased=True, or_dead=False)
            assert bench.offer(guards=[guard]).status == "refused"

    def test_a_message_does_not_replace_itself(self, bench: Bench, engine: Engine) -> None:
        bench.publish("m", guards=[Add("key", holder="m")])
        assert engine.apply([Add("key", holder="m", replaces="replaced", or_leased=True)], []).ok
        assert bench.state("m") == "ready"

    def test_apply_replaces_as_a_publish_does(self, bench: Bench, engine: Engine) -> None:
        frees = on_end("any", Remove("key", holder="old"), Put("told"))
        bench.publish("old", guards=[Add("key", holder="old")], on_end=(frees,))
        assert engine.apply([Add("key", holder="new", replaces="replaced")], []).ok
        value = engine.store_get("key")
        assert value is not None
        assert (value.holder, bench.ended("old")) == ("new", ("dropped", "replaced"))
        assert bench.value("told") == b""

    def test_two_keys_of_one_message_are_taken_over_and_it_ends_once(
        self, bench: Bench, engine: Engine
    ) -> None:
        bench.publish(
            "old",
            guards=[Add("a", holder="old"), Add("b", holder="old")],
            on_end=(on_end("any", witness("ended")),),
        )
        bench.publish(guards=[Add(key, holder="new", replaces="replaced") for key in "ab"])
        assert bench.value("ended") == b"1"
        assert [value.holder for key, value in sorted(records(engine, "")) if key in "ab"] == ["new", "new"]

    def test_add_with_replaces_takes_a_key_that_is_free(self, bench: Bench, engine: Engine) -> None:
        bench.publish("m", guards=[Add("key", holder="m", replaces="newer")])
        value = engine.store_get("key")
        assert value is not None
        assert (value.holder, bench.state("m")) == ("m", "ready")

    def test_a_key_that_one_step_takes_twice_ends_nobody(self, bench: Bench, engine: Engine) -> None:
        bench.publish("m", guards=[Add("key", holder="m"), Add("key", holder="other")])
        value = engine.store_get("key")
        assert value is not None
        assert (value.holder, bench.state("m")) == ("other", "ready")

    def test_effects_see_what_guards_took(self, bench: Bench, engine: Engine) -> None:
        assert engine.apply([Add("key", b"1")], [Put("key", b"2")]).ok
        value = engine.store_get("key")
        assert value == Value(b"2", 2, None, None)
