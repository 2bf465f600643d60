"""Looking: records and their stories, lists, depths, owners and books."""

from __future__ import annotations

from msgspec.structs import replace

from reliq.ports.broker import Engine
from reliq.ports.values import Depth, Publication, Record
from reliq.testing.contracts.base import Contract, MovableClock
from reliq.testing.contracts.bench import Bench, envelope_of


class Looking(Contract):
    def test_there_is_no_record_of_what_was_never_accepted(self, bench: Bench, engine: Engine) -> None:
        assert engine.get("never") is None

    # --- the story ---

    def test_the_story_of_a_message_is_told_step_by_step(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        start = clock.now_ms()
        id = bench.publish(delay=1_000)
        clock.advance(1)
        hand = bench.hand()
        first = hand.one()
        clock.advance(1)
        hand.settle(first, "retry", after=2_000, reason="flaky", error=b"trace")
        clock.advance(2)
        second = hand.one()
        clock.advance(1)
        hand.settle(second, "done", value=b"1")

        story = bench.record(id).transitions
        assert [(step.to, step.at - start) for step in story] == [
            ("due", 0),
            ("ready", 1_000),
            ("leased", 1_000),
            ("due", 2_000),
            ("ready", 4_000),
            ("leased", 4_000),
            ("done", 5_000),
        ]
        published, _, lease, retry, _, again, done = story
        assert published.due == start + 1_000
        assert (lease.owner, lease.attempt, lease.fence) == (hand.name, 1, first.receipt.fence)
        assert (retry.reason, retry.error, retry.due) == ("flaky", b"trace", start + 4_000)
        assert (retry.owner, retry.fence) == (hand.name, first.receipt.fence)
        assert (again.attempt, again.fence) == (2, second.receipt.fence)
        assert (done.owner, done.fence, done.attempt) == (hand.name, second.receipt.fence, 2)

    def test_the_story_tells_a_crash_a_quarantine_and_a_replay(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        id = bench.publish(max_crashes=2)
        for _ in range(2):
            hand = bench.hand()
            hand.crash(hand.one())
            clock.advance(1)
        engine.replay(id)
        story = bench.record(id).transitions
        assert [step.to for step in story] == ["ready", "leased", "due", "ready", "leased", "failed", "ready"]
        assert [step.reason for step in story if step.to in ("due", "failed")] == [
            "crashed",
            "crashed 2 times",
        ]

    def test_the_story_tells_a_give_back_and_a_cancel(self, bench: Bench, engine: Engine) -> None:
        hand, delivery = bench.leased()
        hand.give_back(delivery)
        bench.cancel(delivery.receipt.id, reason="enough")
        story = bench.record(delivery.receipt.id).transitions
        assert [step.to for step in story] == ["ready", "leased", "given_back", "dropped"]
        assert story[-1].reason == "enough"

    def test_an_end_without_a_run_has_neither_the_owner_nor_the_error_of_the_run_before(
        self, bench: Bench, engine: Engine
    ) -> None:
        hand, delivery = bench.leased()
        hand.settle(delivery, "retry", after=1_000, error=b"trace")
        bench.cancel(delivery.receipt.id)
        last = bench.record(delivery.receipt.id).transitions[-1]
        assert (last.to, last.owner, last.error) == ("dropped", None, None)

    def test_the_story_of_a_message_that_was_ready_at_once_names_no_due_time(self, bench: Bench) -> None:
        hand, delivery = bench.leased()
        assert [step.due for step in bench.record(delivery.receipt.id).transitions] == [None, None]
        hand.settle(delivery, "done")
        assert [step.due for step in bench.record(delivery.receipt.id).transitions] == [None] * 3

    def test_the_story_tells_the_error_that_a_message_ended_with(self, bench: Bench) -> None:
        hand, delivery = bench.leased()
        hand.settle(delivery, "failed", error=b"trace")
        last = bench.record(delivery.receipt.id).transitions[-1]
        assert (last.to, last.owner, last.error) == ("failed", hand.name, b"trace")

    def test_the_last_16_steps_are_kept(self, bench: Bench) -> None:
        hand, delivery = bench.leased()
        for _ in range(20):
            hand.settle(delivery, "retry")
            delivery = hand.one("own")
        record = bench.record(delivery.receipt.id)
        story = record.transitions
        assert len(story) == 16
        assert (story[-1].to, story[-1].fence, story[-1].attempt) == ("leased", record.fence, record.attempt)
        assert [step.to for step in story[-6:]] == ["due", "ready", "leased"] * 2
        self._is_in_order(record)

    def test_the_last_step_is_the_present_state(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        hand, delivery = bench.leased(delay=0)
        id = delivery.receipt.id

        def told(state: str, step: str | None = None) -> None:
            record = bench.record(id)
            assert (record.state, record.transitions[-1].to) == (state, step or state)
            assert record.transitions[-1].reason == record.reason
            self._is_in_order(record)

        told("leased")
        hand.settle(delivery, "retry", after=1_000, reason="r")
        told("due")
        clock.advance(1)
        engine.reap()
        told("ready")
        delivery = hand.one("own")
        hand.give_back(delivery)
        told("ready", "given_back")
        delivery = hand.one("own")
        hand.settle(delivery, "failed", reason="f")
        told("failed")
        engine.replay(id)
        told("ready")
        bench.cancel(id)
        told("dropped")

    @staticmethod
    def _is_in_order(record: Record) -> None:
        story = record.transitions
        assert [step.at for step in story] == sorted(step.at for step in story)
        assert [step.fence for step in story] == sorted(step.fence for step in story)

    # --- forget ---

    def test_forget_takes_value_and_error_of_an_ended_message(self, bench: Bench, engine: Engine) -> None:
        hand, delivery = bench.leased()
        hand.settle(delivery, "done", value=b"secret")
        assert engine.forget(delivery.receipt.id)
        assert (bench.state(delivery.receipt.id), bench.record(delivery.receipt.id).value) == ("done", None)
        hand, delivery = bench.leased()
        hand.settle(delivery, "failed", error=b"secret")
        assert engine.forget(delivery.receipt.id)
        assert bench.record(delivery.receipt.id).error is None

    def test_forget_takes_the_errors_out_of_the_story(self, bench: Bench, engine: Engine) -> None:
        hand, delivery = bench.leased()
        hand.settle(delivery, "retry", error=b"secret", reason="kept")
        hand.settle(hand.one("own"), "failed", error=b"secret", reason="kept")
        engine.forget(delivery.receipt.id)
        story = bench.record(delivery.receipt.id).transitions
        assert [step.error for step in story] == [None] * 6
        assert [step.reason for step in story].count("kept") == 2

    def test_forget_leaves_live_messages_alone(self, bench: Bench, engine: Engine) -> None:
        hand, delivery = bench.leased()
        hand.settle(delivery, "retry", after=1_000, error=b"e")
        assert not engine.forget(delivery.receipt.id)
        assert bench.record(delivery.receipt.id).error == b"e"
        assert not engine.forget("never")

    def test_forgetting_twice_is_harmless(self, bench: Bench, engine: Engine) -> None:
        hand, delivery = bench.leased()
        hand.settle(delivery)
        assert engine.forget(delivery.receipt.id)
        assert engine.forget(delivery.receipt.id)

    # --- list ---

    def test_the_list_has_all_records_oldest_accepted_first(self, bench: Bench, engine: Engine) -> None:
        ids = [bench.publish(delay=delay) for delay in (None, 9_000, None)]
        hand = bench.hand()
        hand.settle(hand.one())
        assert [record.id for record in engine.list()] == ids

    def test_listed_records_are_the_ones_one_gets_less_their_stories(
        self, bench: Bench, engine: Engine
    ) -> None:
        bench.leased()
        for record in engine.list():
            assert record.transitions == ()
            assert record == replace(bench.record(record.id), transitions=())

    def test_the_list_can_be_narrowed(self, bench: Bench, engine: Engine) -> None:
        bench.publish("a", queue="x", task="one")
        bench.publish("b", queue="y", task="two", delay=5_000)
        bench.publish("c", queue="x", task="two")
        bench.publish("d", queue="y", task="one")
        bench.cancel("c", reason="because: c")

        def ids(**narrow: object) -> list[str]:
            return [record.id for record in engine.list(**narrow)]  # type: ignore[arg-type]

        assert ids(queue="x") == ["a", "c"]
        assert ids(task="two") == ["b", "c"]
        assert ids(states=["ready"]) == ["a", "d"]
        assert ids(states=["due", "dropped"]) == ["b", "c"]
        assert ids(reason="because") == ["c"]
        assert ids(reason="Because") == []
        assert ids(reason="%") == []
        assert ids(queue="x", task="one", states=["ready"]) == ["a"]
        assert ids(queue="nowhere") == []

    def test_the_list_is_read_in_pages(self, bench: Bench, engine: Engine) -> None:
        ids = [bench.publish(task="even" if n % 2 == 0 else "odd") for n in range(10)]
        assert [record.id for record in engine.list(limit=4)] == ids[:4]
        assert [record.id for record in engine.list(limit=4, after=ids[3])] == ids[4:8]
        assert [record.id for record in engine.list(limit=4, after=ids[7])] == ids[8:]
        assert engine.list(after=ids[-1]) == []
        assert [record.id for record in engine.list(task="even", limit=2, after=ids[2])] == [ids[4], ids[6]]

    # --- depth, queues, books ---

    def test_the_depth_counts_the_live_states_of_a_queue(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        assert engine.depth("q") == Depth("q")
        bench.publish("leased")
        bench.hand().one()
        oldest = clock.now_ms()
        bench.publish()
        clock.advance(1)
        bench.publish()
        bench.publish(delay=5_000)
        bench.publish(queue="other")
        assert engine.depth("q") == Depth("q", ready=2, due=1, leased=1, oldest=oldest)

    def test_a_promoted_message_waits_since_it_was_due(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        due = clock.now_ms() + 1_000
        bench.publish(delay=1_000)
        clock.advance(5)
        engine.reap()
        assert engine.depth("q").oldest == due

    def test_the_oldest_is_found_wherever_it_stands(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        bench.publish(delay=1_000, priority=3)
        clock.advance(5)
        engine.publish([Publication(envelope_of(priority=3)) for _ in range(150)])
        engine.reap()  # the promoted one stands last
        assert engine.depth("q").oldest == clock.now_ms() - 4_000

    def test_the_oldest_is_nobody_when_nothing_is_ready(self, bench: Bench, engine: Engine) -> None:
        bench.publish(delay=5_000)
        assert engine.depth("q").oldest is None

    def test_queues_with_live_messages_are_listed_in_order(self, bench: Bench, engine: Engine) -> None:
        assert engine.queues() == []
        bench.publish("z", queue="zebra")
        bench.publish(queue="ant", delay=5_000)
        bench.publish(queue="mole")
        bench.hand().one("mole")
        assert engine.queues() == ["ant", "mole", "zebra"]
        bench.cancel("z")
        assert engine.queues() == ["ant", "mole"]

    def test_the_books_balance_at_every_step(self, bench: Bench, engine: Engine, clock: MovableClock) -> None:
        expected = dict.fromkeys(["ready", "due", "leased", "done", "failed", "dropped"], 0)

        def books(**change: int) -> None:
            for state, by in change.items():
                expected[state] += by
            audit = engine.audit()
            assert dict(audit.states) == expected
            assert audit.balanced
            assert audit.accepted == sum(expected.values())

        books()
        bench.publish("a")
        books(ready=1)
        bench.publish("b", delay=1_000)
        books(due=1)
        hand = bench.hand()
        a = hand.one()
        books(ready=-1, leased=1)
        hand.settle(a, "failed")
        books(leased=-1, failed=1)
        clock.advance(1)
        b = hand.one()
        books(due=-1, leased=1)
        hand.give_back(b)
        books(leased=-1, ready=1)
        engine.replay("a")
        books(failed=-1, ready=1)
        engine.purge("q")
        books(ready=-2, dropped=2)
        engine.remove("a")
        books()
        clock.advance(100_000)
        engine.reap()
        books()
        bench.publish("a")
        books(ready=1)

    def test_an_audit_that_does_not_add_up_says_so(self, engine: Engine) -> None:
        audit = engine.audit()
        assert audit.balanced
        assert not replace(audit, accepted=audit.accepted + 1).balanced
        assert not replace(audit, broken=(("id", "rule"),)).balanced
