"""What operators do: replay, remove, purge."""

from __future__ import annotations

import pytest

from reliq.errors import GuardRefused
from reliq.ports.broker import Engine
from reliq.ports.values import Value
from reliq.testing.contracts.base import Contract, MovableClock
from reliq.testing.contracts.bench import Bench, Kind, on_end, witness
from reliq.wire.message import Add, Remove


class Operating(Contract):
    # --- replay ---

    def test_a_replay_starts_a_new_life(self, bench: Bench, engine: Engine, clock: MovableClock) -> None:
        hand, delivery = bench.leased(body=b"[[1],{}]")
        id = delivery.receipt.id
        hand.settle(delivery, "retry")
        hand.settle(hand.one("own"), "snooze")
        hand.settle(hand.one("own"), "failed", reason="bad", error=b"e")
        clock.advance(5)
        payload = bench.record(id).payload
        assert engine.replay(id)
        record = bench.record(id)
        assert (record.state, record.life, record.due) == ("ready", 2, clock.now_ms())
        assert (record.attempt, record.retries, record.crashes, record.snoozes) == (0, 0, 0, 0)
        assert (record.value, record.error, record.ended, record.gone) == (None, None, None, None)
        assert record.payload == payload
        again = hand.one("own")
        assert (again.attempt, again.receipt.id) == (1, id)
        assert hand.settle(again).status == "applied"

    def test_a_replayed_message_stands_behind_what_is_ready(self, bench: Bench, engine: Engine) -> None:
        hand, delivery = bench.leased("old", queue="q")
        hand.settle(delivery, "failed")
        bench.publish("new")
        engine.replay("old")
        assert hand.ids() == ["new", "old"]

    def test_a_replay_can_go_to_another_queue(self, bench: Bench, engine: Engine) -> None:
        hand, delivery = bench.leased()
        hand.settle(delivery, "failed")
        assert engine.replay(delivery.receipt.id, queue="repair")
        assert bench.record(delivery.receipt.id).queue == "repair"
        assert (hand.ids("own"), hand.ids("repair")) == ([], [delivery.receipt.id])

    def test_on_end_comes_again_after_a_replay(self, bench: Bench, engine: Engine) -> None:
        hand, delivery = bench.leased(on_end=(on_end("any", witness("n")),))
        hand.settle(delivery, "failed")
        engine.replay(delivery.receipt.id)
        hand.settle(hand.one("own"), "done")
        assert bench.value("n") == b"2"

    def test_an_expiry_no_longer_counts_after_a_replay(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        hand, delivery = bench.leased(expires_in=1_000)
        hand.settle(delivery, "failed")
        clock.advance(10)
        engine.replay(delivery.receipt.id)
        engine.reap()
        assert hand.ids("own") == [delivery.receipt.id]

    def test_a_stop_asked_of_the_former_life_does_not_count(self, bench: Bench, engine: Engine) -> None:
        hand, delivery = bench.leased()
        bench.cancel(delivery.receipt.id)
        hand.settle(delivery, "failed")
        engine.replay(delivery.receipt.id)
        assert not bench.record(delivery.receipt.id).cancel
        hand.settle(hand.one("own"), "retry")
        assert bench.state(delivery.receipt.id) == "due"

    def test_only_failed_messages_are_replayed(self, bench: Bench, engine: Engine) -> None:
        waiting = bench.publish()
        _, running = bench.leased()
        ended: list[str] = []
        kinds: tuple[Kind, ...] = ("done", "dropped")
        for kind in kinds:
            hand, delivery = bench.leased()
            hand.settle(delivery, kind)
            ended.append(delivery.receipt.id)
        for id in (waiting, running.receipt.id, *ended, "never"):
            assert not engine.replay(id)

    def test_a_replay_made_twice_starts_one_life(self, bench: Bench, engine: Engine) -> None:
        hand, delivery = bench.leased()
        hand.settle(delivery, "failed")
        assert engine.replay(delivery.receipt.id)
        assert not engine.replay(delivery.receipt.id)
        assert bench.record(delivery.receipt.id).life == 2
        assert len(hand.ids("own")) == 1

    def test_a_replay_takes_the_keys_of_on_replay(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        guard = Add("key", b"data", ttl=1_000, holder="m", from_due=True)
        hand, delivery = bench.leased("m", guards=[guard], on_replay=(guard,))
        hand.settle(delivery, "failed", effects=[Remove("key")])
        clock.advance(60)
        assert engine.replay("m")
        assert engine.store_get("key") == Value(b"data", 1, clock.now_ms() + 1_000, "m")

    def test_a_replay_that_a_guard_refuses_writes_nothing(self, bench: Bench, engine: Engine) -> None:
        guard = Add("key", holder="m")
        hand, delivery = bench.leased("m", on_replay=(Add("free"), guard))
        hand.settle(delivery, "failed")
        other = bench.publish()
        engine.store_put("key", b"", holder=other)
        before = bench.record("m")
        with pytest.raises(
            GuardRefused, match=rf"m is not replayed: message {other} \(ready\) holds"
        ) as caught:
            engine.replay("m")
        found = caught.value.found
        assert (caught.value.id, caught.value.guard, found.guard, found.state) == ("m", guard, guard, "ready")
        assert found.value == engine.store_get("key")
        assert (bench.record("m"), bench.value("free")) == (before, None)
        bench.cancel(other)
        assert engine.replay("m")
        bench.check_books()

    def test_a_replay_may_replace_a_message_that_waits(self, bench: Bench, engine: Engine) -> None:
        hand, delivery = bench.leased("m", on_replay=(Add("key", holder="m", replaces="replayed"),))
        hand.settle(delivery, "failed")
        other = bench.publish("other", guards=[Add("key", holder="other")])
        assert engine.replay("m")
        assert bench.ended(other) == ("dropped", "replayed")

    # --- remove ---

    @pytest.mark.parametrize("kind", ["done", "failed", "dropped"])
    def test_remove_deletes_the_record_of_an_ended_message(
        self, bench: Bench, engine: Engine, kind: Kind
    ) -> None:
        hand, delivery = bench.leased()
        hand.settle(delivery, kind)
        assert engine.remove(delivery.receipt.id)
        assert engine.get(delivery.receipt.id) is None
        assert engine.list() == []
        assert engine.audit().states[kind] == 1
        assert not engine.remove(delivery.receipt.id)

    def test_remove_leaves_live_messages_alone(self, bench: Bench, engine: Engine) -> None:
        _, delivery = bench.leased()
        for id in (bench.publish(), bench.publish(delay=5_000), delivery.receipt.id):
            assert not engine.remove(id)
            assert engine.get(id) is not None
        assert not engine.remove("never")

    def test_a_removed_id_stays_a_duplicate_for_its_window(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        hand, delivery = bench.leased()
        hand.settle(delivery)
        engine.remove(delivery.receipt.id)
        assert bench.offer(delivery.receipt.id).status == "duplicate"
        clock.advance(60)
        assert bench.offer(delivery.receipt.id).status == "accepted"

    def test_a_removed_message_is_not_replayed(self, bench: Bench, engine: Engine) -> None:
        hand, delivery = bench.leased()
        hand.settle(delivery, "failed")
        engine.remove(delivery.receipt.id)
        assert not engine.replay(delivery.receipt.id)

    # --- purge ---

    def test_purge_drops_all_that_waits_in_a_queue(self, bench: Bench, engine: Engine) -> None:
        ready, due = bench.publish(), bench.publish(delay=5_000)
        other = bench.publish(queue="other")
        bench.publish("leased", queue="first")
        hand = bench.hand()
        held = hand.one("first")
        assert engine.purge("q") == 2
        assert [bench.ended(id) for id in (ready, due)] == [("dropped", "purged")] * 2
        assert engine.purge("first") == 0
        assert (bench.state(other), hand.settle(held).status) == ("ready", "applied")
        assert engine.purge("q") == 0

    def test_purge_takes_charged_messages_too(
        self, bench: Bench, engine: Engine, clock: MovableClock
    ) -> None:
        id = bench.publish()
        hand = bench.hand()
        hand.crash(hand.one())
        clock.advance(1)
        engine.reap()
        assert engine.purge("q") == 1
        assert bench.ended(id) == ("dropped", "purged")

    def test_purge_applies_on_end_of_each(self, bench: Bench, engine: Engine) -> None:
        for _ in range(3):
            bench.publish(on_end=(on_end("dropped", witness("n")),))
        engine.purge("q")
        assert bench.value("n") == b"3"

    def test_purge_leaves_what_its_own_endings_publish(self, bench: Bench, engine: Engine) -> None:
        from reliq.testing.contracts.bench import follow

        bench.publish(on_end=(on_end("any", follow_ups=[follow("after")]),))
        assert engine.purge("q") == 1
        assert bench.state("after") == "ready"

    def test_purging_an_empty_queue_does_nothing(self, bench: Bench, engine: Engine) -> None:
        assert engine.purge("nowhere") == 0
