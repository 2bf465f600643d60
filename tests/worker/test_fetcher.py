from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pytest
from msgspec.structs import replace

from reliq.engines.memory import connect
from reliq.errors import BrokerUnavailable
from reliq.policy.clock import VirtualClock
from reliq.ports.values import Publication, Receipt, Settlement
from reliq.wire.message import Envelope
from reliq.worker import fetcher as module
from reliq.worker.board import Board
from reliq.worker.fetcher import Fetcher
from reliq.worker.settler import Settler


class Parts:
    """A fetcher on a memory engine; `broken` holds the errors of the next calls, `after` those after the effect."""

    def __init__(self, **options: Any) -> None:
        self.clock = VirtualClock()
        self.engine = connect("memory://", clock=self.clock)
        self.engine.register("me", 60.0)
        self.engine.register("other", 60.0)
        self.broken: list[Exception] = []
        self.after: list[Exception] = []
        self.claims: list[dict[str, Any]] = []
        self.board = Board(300)
        self.settler = Settler(self, self, self.board)  # type: ignore[arg-type]
        self.waits: list[float] = []
        self.refuse: Any = None
        self.fetcher = Fetcher(
            self,  # type: ignore[arg-type]
            "me",
            self.board,
            self.settler,
            queues=[("q", 1.0)],
            most=200,
            slots=1,
            wait=self.waits.append,
            **options,
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def claim(self, *args: Any, **options: Any) -> Any:
        self.claims.append(options)
        if self.broken:
            raise self.broken.pop()
        answer = self.engine.claim(*args, **{**options, "wait": 0.0})
        if self.after:
            raise self.after.pop()
        return answer

    def settled(self, job: Any, answer: Any) -> None:
        pass

    def settle(self, settlements: Any) -> Any:
        return (self.refuse or self.engine.settle)(settlements)

    def publish(self, *ids: str) -> None:
        self.engine.publish([Publication(Envelope(1, id, "t", "q")) for id in ids])

    def fetch(self, alone: bool = True) -> list[tuple[str, int]] | None:
        got = self.fetcher.claim(at_most=100, alone=alone)
        return None if got is None else [(delivery.receipt.id, place) for delivery, place in got]

    def end(self, id: str, place: int, **changes: Any) -> None:
        record = self.engine.get(id)
        assert record is not None
        self.board.finish(place)
        self.settler.add((Settlement(Receipt(id, "me", record.fence), "done", **changes), None, place))


@pytest.fixture
def parts() -> Parts:
    return Parts()


def test_the_first_claim_asks_for_one_and_short_tasks_let_it_grow_by_four(parts: Parts) -> None:
    parts.publish(*map(str, range(200)))
    sizes = []
    for _ in range(9):
        got = parts.fetch() or []
        sizes.append(len(got))
        for id, place in got:
            parts.end(id, place)
        parts.fetcher.measured(0.00001 * len(got), len(got))
    assert sizes[0] == 1
    assert all(b <= 4 * a for a, b in pairwise(sizes))
    assert max(sizes) > 40


def test_one_long_task_ends_prefetching_at_once(parts: Parts) -> None:
    for _ in range(12):
        parts.fetcher.measured(0.00001, 1)
    parts.publish(*map(str, range(50)))
    assert len(parts.fetch() or []) == 50
    parts.fetcher.measured(0.5, 1)
    parts.publish("a", "b", "c")
    assert len(parts.fetch(alone=False) or []) == 1


def test_a_lost_reply_gives_the_same_batch_again_and_settles_once(parts: Parts) -> None:
    parts.publish("a", "b")
    ((id, place),) = parts.fetch() or []
    parts.end(id, place)
    parts.after.append(BrokerUnavailable("cut"))
    assert parts.fetch() == []
    assert len(parts.waits) == 1
    ((again, _),) = parts.fetch() or []
    assert again == "b"
    assert parts.claims[1]["seq"] == parts.claims[2]["seq"] == 2
    assert [parts.engine.get(i).state for i in ("a", "b")] == ["done", "leased"]  # type: ignore[union-attr]
    assert parts.board.room == parts.board.capacity - 1


def test_what_a_broker_reached_anew_has_forgotten_the_end_of_is_given_back(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts.publish("one", "two")
    ((one, _),) = parts.fetch() or ()
    parts.board.free(0)  # it was settled; a fail-over has taken that back
    claim = parts.engine.claim
    monkeypatch.setattr(parts.engine, "claim", lambda *a, **o: replace(claim(*a, **o), anew=True))
    ((two, _),) = parts.fetch() or ()
    assert (parts.engine.get(one).state, parts.engine.get(two).state) == ("ready", "leased")


def test_what_never_arrived_is_given_back_after_an_outage(parts: Parts) -> None:
    parts.publish("a", "b")
    parts.engine.claim("me", ["q"], limit=1, seq=0)  # a delivery of which this process knows nothing
    parts.broken.append(BrokerUnavailable("down"))
    assert parts.fetch() == []
    assert [id for id, _ in parts.fetch() or []] == ["b"]
    assert parts.engine.get("a").state == "ready"  # type: ignore[union-attr]


def test_a_settlement_that_cannot_be_stored_fails_alone(parts: Parts) -> None:
    parts.publish("a", "b", "c")
    for _ in range(2):
        for id, place in parts.fetch(alone=False) or []:
            parts.end(id, place, value=b"1" if id == "a" else b"")
    parts.broken.append(TypeError("no such thing"))
    settle = parts.engine.settle

    def picky(settlements: Any) -> Any:
        if any(s.receipt.id == "b" and s.kind == "done" for s in settlements):
            raise TypeError("cannot store b")
        return settle(settlements)

    parts.__dict__["settle"] = picky
    assert [id for id, _ in parts.fetch() or []] == ["c"]
    assert parts.engine.get("a").state == "done"  # type: ignore[union-attr]
    record = parts.engine.get("b")
    assert record is not None and record.state == "failed" and "could not be stored" in str(record.reason)


def test_a_charged_message_is_let_in_but_does_not_starve_the_rest_for_ever(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts.publish("poison")
    taken = parts.engine.claim("other", ["q"], limit=1, seq=1).deliveries
    parts.engine.bury("other", started=[taken[0].receipt])
    parts.publish("long", "more")
    got = parts.fetch()
    assert got
    parts.clock.advance(1.1)  # the charge is over
    parts.publish("late")
    assert parts.fetch(alone=False) is not None  # this answer says that one waits for empty hands
    assert parts.fetch(alone=False) is None
    now = time.monotonic()
    monkeypatch.setattr(module.time, "monotonic", lambda: now + module.DRAIN + 1)
    assert parts.fetch(alone=False) is not None
    while parts.fetch(alone=False):
        assert parts.waits == []
    # Each such claim returns at once: without a pause there would be thousands of them in a second.
    assert parts.waits == [module.SHY]


def test_once_a_charged_message_was_let_in_the_next_claims_are_not_held_up(parts: Parts) -> None:
    parts.publish("poison")
    taken = parts.engine.claim("other", ["q"], limit=1, seq=1).deliveries
    parts.engine.bury("other", started=[taken[0].receipt])
    parts.publish("before")
    (before,) = parts.fetch() or []
    parts.clock.advance(1.1)
    parts.fetch(alone=False)  # says that one waits for empty hands
    assert parts.fetch(alone=False) is None
    parts.end(*before)
    (poison,) = parts.fetch(alone=True) or []
    assert poison[0] == "poison"
    parts.end(*poison)
    parts.publish("after")
    assert parts.fetch(alone=True)
    assert parts.fetch(alone=False) is not None


def test_a_settlement_that_the_broker_refuses_fails_with_the_brokers_error(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(
        "CRITICAL", logger="reliq.worker"
    )  # a report with half a character cannot be sent by xdist
    parts.publish("a", "b")
    parts.fetcher.measured(0.0001, 1)
    for id, place in [*(parts.fetch() or []), *(parts.fetch() or [])]:
        parts.end(id, place, **({"value": "no bytes \udc80"} if id == "a" else {}))
    settle = parts.engine.settle

    def refuse(settlements: list[Settlement]) -> Any:
        if any(isinstance(settlement.value, str) for settlement in settlements):
            raise ValueError("half a character: \udc80")
        return settle(settlements)

    parts.refuse = refuse
    assert parts.settler.flush()
    record = parts.engine.get("a")
    assert record is not None and record.state == "failed"
    assert record.reason == "the verdict could not be stored: ValueError: half a character: \\udc80"
    assert parts.engine.get("b").state == "done"  # type: ignore[union-attr]
    assert parts.board.room == parts.board.capacity


def test_a_settlement_that_is_refused_in_every_form_is_tried_again_and_is_in_nobodys_way(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reliq.worker.settler.AGAIN", 0.0)
    parts.publish("a", "b")
    for id, place in [*(parts.fetch() or []), *(parts.fetch() or [])]:
        parts.end(id, place)
    settle = parts.engine.settle

    def refuse(settlements: list[Settlement]) -> Any:
        if any(settlement.receipt.id == "a" for settlement in settlements):
            raise ValueError("a defect")
        return settle(settlements)

    parts.refuse = refuse
    assert parts.settler.flush() and parts.settler.has_refused and not len(parts.settler)
    assert parts.engine.get("b").state == "done"  # type: ignore[union-attr]
    assert parts.engine.get("a").state == "leased"  # type: ignore[union-attr]
    parts.settler.try_refused()
    assert parts.settler.has_refused
    parts.refuse = settle
    parts.settler.try_refused()
    assert not parts.settler.has_refused
    assert parts.engine.get("a").state == "done"  # type: ignore[union-attr]
    assert parts.board.room == parts.board.capacity


def test_a_claim_waits_longer_after_several_that_brought_nothing_where_nothing_runs() -> None:
    parts = Parts()

    def waits(count: int, *, alone: bool = True) -> list[float]:
        del parts.claims[:]
        for _ in range(count):
            parts.fetcher.claim(at_most=10, alone=alone)
        return [claim["wait"] for claim in parts.claims]

    assert waits(6) == [1.0, 1.0, 1.0, 2.0, 4.0, 4.0]
    assert waits(1, alone=False) == [1.0]  # what runs may keep the interpreter for itself
    assert waits(1) == [4.0]
    parts.publish("m")
    assert waits(1) == [4.0]
    assert waits(2) == [1.0, 1.0]


def test_no_claim_waits_for_longer_than_a_watchdog_allows() -> None:
    for longest, waited in ((3.0, 3.0), (0.2, 1.0)):
        parts = Parts(longest=longest)
        for _ in range(6):
            parts.fetcher.claim(at_most=10, alone=True)
        assert parts.claims[-1]["wait"] == waited


class Ahead(Parts):
    """A fetcher on an engine whose claims can be sent ahead; it has measured brisk tasks."""

    def __init__(self) -> None:
        super().__init__()
        self.capabilities = replace(self.engine.capabilities, ahead=True)
        self.fetcher._can_go_ahead = True
        self.publish(40)
        for _ in range(12):
            self.fetcher.measured(0.0001, 10)

    def publish(self, count: int) -> None:
        self.engine.publish(
            [Publication(Envelope(v=1, id=f"m{i}", task="t", queue="q")) for i in range(count)]
        )

    def claimed(self) -> list[Any]:
        return self.fetcher.claim(at_most=10, alone=False, wait=0.0) or []

    def finish(self, delivery: Any, index: int) -> None:
        self.settler.add((Settlement(delivery.receipt, "done"), None, index))

    def claim_ahead(self, *args: Any, **options: Any) -> Any:
        self.claims.append(options)
        claimed = self.engine.claim(*args, **options)

        def answer() -> Any:
            if self.after:
                raise self.after.pop()
            return claimed

        return answer

    def go(self) -> list[Any]:
        """One batch, with the next claim on its way."""
        got = self.claimed()
        self.fetcher.go_ahead(got=len(got), at_most=10)
        assert self.fetcher.ahead_since is not None
        return got


def test_a_claim_sent_ahead_is_the_next_claim() -> None:
    parts = Ahead()
    got = parts.go()
    for delivery, index in got:
        parts.finish(delivery, index)
    sent = len(parts.claims)
    following = parts.claimed()
    assert len(parts.claims) == sent
    assert following
    assert not {d.receipt.id for d, _ in got} & {d.receipt.id for d, _ in following}
    assert {d.receipt for d, _ in following} <= set(parts.engine.held("me"))
    assert parts.fetcher.ahead_since is None
    assert parts.board.ahead_since == 0.0


@pytest.mark.parametrize(("seconds", "goes"), [(0.001, True), (0.004, False)])
def test_tasks_of_a_millisecond_are_not_kept_waiting_for_a_claim_and_longer_ones_stay_for_others(
    seconds: float, goes: bool
) -> None:
    parts = Ahead()
    for _ in range(12):
        parts.fetcher.measured(10 * seconds, 10)
    got = parts.claimed()
    parts.fetcher.go_ahead(got=len(got), at_most=10)
    assert (parts.fetcher.ahead_since is not None) == goes


def test_settlements_ride_with_a_claim_sent_ahead() -> None:
    parts = Ahead()
    for delivery, index in parts.go():
        parts.finish(delivery, index)
    parts.fetcher.go_ahead(got=10, at_most=10)  # one is on its way already
    assert len(parts.settler) == 10
    parts.claimed()
    parts.fetcher.go_ahead(got=10, at_most=10)
    assert len(parts.settler) == 0
    assert len(parts.claims[-1]["settlements"]) == 10


def test_what_the_parent_has_given_back_is_not_taken_in() -> None:
    parts = Ahead()
    got = parts.go()
    assert parts.board.void()
    assert parts.claimed() == []
    assert not parts.board.is_void
    assert set(parts.engine.held("me")) == {delivery.receipt for delivery, _ in got}
    assert len(parts.claimed()) == 10  # the next claim is as any other


def test_there_is_nothing_to_void_without_a_claim_on_its_way() -> None:
    assert not Ahead().board.void()


def test_a_claim_sent_ahead_whose_answer_is_lost_is_made_again() -> None:
    parts = Ahead()
    before = {delivery.receipt for delivery, _ in parts.go()}
    parts.after = [BrokerUnavailable("gone")]
    assert parts.claimed() == []
    assert parts.waits
    again = {delivery.receipt for delivery, _ in parts.claimed()}
    assert len(again) == 10
    assert set(parts.engine.held("me")) == before | again


def test_no_claim_is_sent_ahead_of_tasks_that_are_not_brisk() -> None:
    parts = Ahead()
    got = parts.claimed()
    parts.fetcher.measured(0.1, 10)
    parts.fetcher.go_ahead(got=len(got), at_most=10)
    assert parts.fetcher.ahead_since is None


def test_no_claim_is_sent_ahead_when_the_queue_runs_dry() -> None:
    parts = Ahead()
    parts.fetcher.go_ahead(got=1, at_most=10)
    assert parts.fetcher.ahead_since is None
