"""A message for which a claim waits is handed to it with the wake; a hand-over that is lost is made up for."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from reliq.engines.redis import claims
from reliq.errors import BrokerFull
from reliq.ports.broker import Engine
from reliq.ports.values import Claimed, Settlement
from reliq.testing.contracts.bench import Bench, Hand
from reliq.testing.servers import RedisServer, process
from tests.engines.redis.conftest import Connect, publication

WAIT = 1.0  # seconds a claim blocks here; the engine lets none block longer


class Waiting:
    """A claim that waits in a thread of its own."""

    def __init__(self, server: RedisServer, hand: Hand, *queues: str) -> None:
        self.claimed: Claimed | None = None
        self._server = server
        self._queues = queues or ("q",)
        self._mine = f" {hand.seq + 1} {hand.name}"
        self._thread = threading.Thread(target=self._run, args=(hand,), daemon=True)
        self._thread.start()
        for queue in self._queues:
            until(lambda queue=queue: self.stands(queue))

    def stands(self, queue: str) -> bool:
        """Whether it is among those to be woken."""
        return any(member.endswith(self._mine) for member in idle(self._server, queue))

    def ids(self) -> list[str]:
        """What it was given, once it has returned."""
        self._thread.join(10)
        assert self.claimed is not None, "the claim has not returned, or failed"
        return [delivery.receipt.id for delivery in self.claimed.deliveries]

    def _run(self, hand: Hand) -> None:
        self.claimed = hand.claim(*self._queues, limit=1, wait=WAIT)


def until(true: Callable[[], bool]) -> None:
    process.until(true, seconds=10, what=lambda: "it did not come to pass")


def idle(server: RedisServer, queue: str = "q") -> list[str]:
    return list(server.do("SMEMBERS", f"{{reliq:shop}}:idle:{queue}"))


def calls_of(server: RedisServer) -> int:
    """How many scripts were called."""
    found: Any = server.info("commandstats")
    return int(dict(part.split("=") for part in found["cmdstat_evalsha"].split(","))["calls"])


@pytest.fixture
def engine(connected: Connect, server: RedisServer) -> Engine:
    return connected(server.url)


@pytest.fixture
def bench(engine: Engine) -> Bench:
    return Bench(engine)


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pushes come, but what they bring is lost."""
    monkeypatch.setattr(claims, "_handed", lambda push, owner, seq: None)


def test_what_is_handed_over_costs_no_call_of_its_own(
    connected: Connect, server: RedisServer, bench: Bench
) -> None:
    publisher = Bench(connected(server.url))
    publisher.publish(queue="other")  # both know their scripts
    hand = bench.hand()
    hand.claim(wait=0.01)
    waiting = Waiting(server, hand)
    before = calls_of(server)
    id = publisher.publish()
    assert waiting.ids() == [id]
    assert calls_of(server) - before == 1  # the publish


def test_it_is_leased_as_by_any_claim(server: RedisServer, bench: Bench) -> None:
    handed, claimed = bench.hand(), bench.hand()
    waiting = Waiting(server, handed)
    one = bench.publish()
    assert waiting.ids() == [one]
    assert waiting.claimed is not None
    two = bench.publish()
    (other,) = claimed.take()
    ours = waiting.claimed.deliveries[0]
    assert (ours.attempt, ours.retries, ours.crashes, ours.alone) == (1, 0, 0, False)
    assert ours.payload == bench.record(one).payload
    a, b = bench.record(one), bench.record(two)
    assert (a.state, a.owner, a.attempt) == (b.state, handed.name, b.attempt)
    assert a.fence == ours.receipt.fence
    assert bench.engine.held(handed.name) == [ours.receipt]
    assert handed.again().deliveries == (ours,)  # the same claim gives it again
    assert handed.settle(ours).status == claimed.settle(other).status == "applied"
    bench.check_books()


@pytest.mark.usefixtures("deaf")
def test_a_push_that_brings_nothing_is_asked_about(server: RedisServer, bench: Bench) -> None:
    waiting = Waiting(server, bench.hand())
    id = bench.publish()
    assert waiting.ids() == [id]


def test_a_connection_that_breaks_with_the_push_loses_nothing(
    server: RedisServer, connected: Connect
) -> None:
    bench = Bench(connected(server.url))
    publisher = Bench(connected(server.url))
    publisher.publish(queue="other")
    hand = bench.hand()
    waiting = Waiting(server, hand)
    link: Any = bench.engine._server._link  # type: ignore[attr-defined]
    link._reader.feed(b"$1000\r\n")  # from now on it waits for the rest of something, and sees no push
    id = publisher.publish()
    assert publisher.record(id).owner == hand.name
    link.close("pulled")
    assert waiting.ids() == [id]


def test_a_claim_that_is_woken_to_return_gives_what_it_was_handed(
    server: RedisServer, connected: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, publisher = Bench(connected(server.url)), Bench(connected(server.url))
    publisher.publish(queue="other")
    hand = bench.hand()
    waiting = Waiting(server, hand)
    link: Any = bench.engine._server._link  # type: ignore[attr-defined]
    with link._state:
        calls = list(link._listening)
        link._listening.clear()  # the push finds nobody
    id = publisher.publish()
    assert publisher.record(id).owner == hand.name
    with link._state:
        link._listening.update(calls)
    bench.engine.wake(hand.name)
    assert waiting.ids() == [id]


def test_nothing_is_handed_to_a_claim_that_has_returned(server: RedisServer, bench: Bench) -> None:
    gone, other = bench.hand(), bench.hand()
    waiting = Waiting(server, gone, "q", "more")
    bench.engine.wake(gone.name)
    assert waiting.ids() == []
    assert idle(server) == idle(server, "more") == []
    id = bench.publish()
    assert bench.state(id) == "ready"
    assert other.ids() == [id]


def test_a_claim_that_was_served_is_not_woken_for_another_queue(server: RedisServer, bench: Bench) -> None:
    busy, free = bench.hand(), bench.hand()
    first = Waiting(server, busy, "q", "more")
    one = bench.publish()
    assert first.ids() == [one]
    assert first.stands("more")  # until it claims again
    second = Waiting(server, free, "more")
    two = bench.publish(queue="more")
    assert second.ids() == [two]


def waiting_again(server: RedisServer, bench: Bench, hand: Hand) -> tuple[Waiting, str, str]:
    """A claim that waits after one that is over; what stood of that one on the list, and what stands of it."""
    first = Waiting(server, hand)
    (past,) = idle(server)
    bench.engine.wake(hand.name)
    assert first.ids() == []
    second = Waiting(server, hand)
    (present,) = idle(server)
    return second, past, present


def test_what_is_handed_to_a_claim_that_is_over_is_heard_of_at_once(
    server: RedisServer, bench: Bench
) -> None:
    """A fail-over, or a restart from a snapshot, may bring a name back that was taken off the list."""
    hand = bench.hand()
    second, past, present = waiting_again(server, bench, hand)
    server.do("SREM", "{reliq:shop}:idle:q", present)
    server.do("SADD", "{reliq:shop}:idle:q", past)
    one = bench.publish()
    assert second.ids() == []
    assert second.claimed is not None and second.claimed.anew
    (astray,) = bench.engine.held(hand.name)
    assert astray.id == one
    bench.engine.give_back([astray])
    assert hand.ids() == [one]
    assert idle(server) == []


@pytest.mark.parametrize("hears", [True, False])
def test_one_that_comes_behind_it_says_so_too(
    hears: bool, server: RedisServer, connected: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hears:
        monkeypatch.setattr(claims, "_handed", lambda push, owner, seq: None)
    bench, publisher = Bench(connected(server.url)), Bench(connected(server.url))
    publisher.publish(queue="other")
    hand = bench.hand()
    bench.publish("known")
    hand.settle(hand.one())
    second, past, present = waiting_again(server, bench, hand)
    link: Any = bench.engine._server._link  # type: ignore[attr-defined]
    with link._state:
        calls = list(link._listening)
        link._listening.clear()  # the first push finds nobody
    server.do("SREM", "{reliq:shop}:idle:q", present)
    server.do("SADD", "{reliq:shop}:idle:q", past)
    one = publisher.publish()
    assert publisher.record(one).owner == hand.name
    bench.engine.get(one)  # what was pushed before is read by now
    server.do("SADD", "{reliq:shop}:idle:q", present)
    with link._state:
        link._listening.update(calls)
    two = publisher.publish()
    assert second.ids() == [two]
    assert second.claimed is not None and second.claimed.anew
    assert sorted(receipt.id for receipt in bench.engine.held(hand.name)) == sorted([one, two])


def test_what_is_given_as_it_should_be_is_nothing_anew(server: RedisServer, bench: Bench) -> None:
    hand = bench.hand()
    for n in range(4):
        waiting = Waiting(server, hand)
        bench.publish()
        assert len(waiting.ids()) == 1
        assert waiting.claimed is not None and not waiting.claimed.anew
        assert not hand.again().anew
        bench.publish()
        assert [len(claimed.deliveries) for claimed in (hand.claim(), hand.again())] == [1, 1], n
        assert not hand.claim().anew


def test_what_stands_of_a_served_claim_goes_with_the_next(server: RedisServer, bench: Bench) -> None:
    hand = bench.hand()
    for _ in range(5):
        waiting = Waiting(server, hand, "q", "more")
        id = bench.publish()
        assert waiting.ids() == [id]
        assert len(idle(server, "more")) == 1
    hand.claim("q", "more")
    assert idle(server, "more") == []


def test_who_has_crashed_is_passed_over(server: RedisServer, connected: Connect, bench: Bench) -> None:
    dead = connected(server.url)
    died = Bench(dead).hand()
    server.do("SADD", "{reliq:shop}:idle:q", f"{{reliq:shop}}:to:gone 7 {died.name}")
    hand = bench.hand()
    waiting = Waiting(server, hand)
    ids = [bench.publish()]
    assert waiting.ids() == ids
    server.do("SADD", "{reliq:shop}:idle:q", f"{{reliq:shop}}:to:gone 7 {died.name}")
    id = bench.publish()
    assert bench.state(id) == "ready"  # nobody heard
    assert hand.ids() == [id]


def test_who_ran_something_alone_claims_for_itself(server: RedisServer, bench: Bench) -> None:
    charged = bench.publish()
    first, hand = bench.hand(), bench.hand()
    first.one()
    first.vanish()
    found: list[Any] = []
    until(lambda: bool(found.extend(hand.claim(wait=WAIT).deliveries) or found))
    assert [(d.receipt.id, d.alone) for d in found] == [(charged, True)]
    hand.settle(found[0])
    waiting = Waiting(server, hand)
    id = bench.publish()
    assert waiting.ids() == [id]
    bench.check_books()


def test_a_large_message_waits_to_be_claimed(server: RedisServer, bench: Bench) -> None:
    waiting = Waiting(server, bench.hand())
    id = bench.publish(body=b"x" * 70_000)
    assert waiting.ids() == [id]
    assert waiting.claimed is not None
    assert len(waiting.claimed.deliveries[0].payload) > 70_000


def test_one_that_waits_already_goes_first(server: RedisServer, bench: Bench) -> None:
    busy, hand = bench.hand(), bench.hand()
    bench.publish("first")
    held = busy.one()
    waiting = Waiting(server, hand)
    with paused_wakes(server) as restore:
        busy.give_back(held)
        restore()
    bench.publish("second")
    assert waiting.ids() == ["first"]
    assert hand.ids() == ["second"]


@contextmanager
def paused_wakes(server: RedisServer) -> Iterator[Callable[[], None]]:
    """What becomes ready meanwhile wakes nobody."""
    members = idle(server)
    server.do("DEL", "{reliq:shop}:idle:q")
    yield lambda: server.do("SADD", "{reliq:shop}:idle:q", *members)


def test_a_duplicate_is_handed_to_nobody(server: RedisServer, bench: Bench) -> None:
    bench.publish("one", queue="other")
    waiting = Waiting(server, bench.hand())
    assert bench.offer("one").status == "duplicate"
    id = bench.publish()
    assert waiting.ids() == [id]


def test_a_full_server_hands_over_nothing(
    connected: Connect, reliq_redis_server: Callable[..., RedisServer]
) -> None:
    own = reliq_redis_server()
    bench = Bench(connected(own.url))
    hand = bench.hand()
    bench.publish(queue="other")
    waiting = Waiting(own, hand)
    own.do("CONFIG", "SET", "maxmemory", 1)
    with pytest.raises(BrokerFull):
        bench.publish("never")
    own.do("CONFIG", "SET", "maxmemory", 0)
    assert bench.engine.get("never") is None
    id = bench.publish()
    assert waiting.ids() == [id]
    bench.check_books()


@pytest.mark.parametrize("hears", [True, False])
def test_whatever_comes_between_each_message_is_given_once(
    hears: bool, server: RedisServer, connected: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Claims that wait for a moment, are woken to return, or lose what was pushed; publishes at any time."""
    if not hears:
        monkeypatch.setattr(claims, "_handed", lambda push, owner, seq: None)
    rng = random.Random(7)
    benches = [Bench(connected(server.url)) for _ in range(2)]
    given: list[str] = []
    ended = threading.Event()

    def work(bench: Bench, name: str, seed: int) -> None:
        chance, engine, seq = random.Random(seed), bench.engine, 0
        engine.register(name, 60.0)
        settlements: list[Settlement] = []
        while not ended.is_set() or settlements:
            seq += 1
            wait = 0.0 if settlements else chance.choice([0.001, 0.003, 0.02])
            found = engine.claim(name, ["q", "more"], limit=1, seq=seq, wait=wait, settlements=settlements)
            given.extend(d.receipt.id for d in found.deliveries)
            settlements = [Settlement(d.receipt, "done") for d in found.deliveries]

    threads = [
        threading.Thread(target=work, args=(bench, f"{n}-{m}", 10 * n + m), daemon=True)
        for n, bench in enumerate(benches)
        for m in range(2)
    ]
    for thread in threads:
        thread.start()
    sender = connected(server.url)
    ids = [f"m{n}" for n in range(600)]
    for id in ids:
        sender.publish([publication(id, queue=rng.choice(["q", "more"]))])
        if rng.random() < 0.2:
            benches[rng.randrange(2)].engine.wake(f"{rng.randrange(2)}-{rng.randrange(2)}")
        if rng.random() < 0.3:
            time.sleep(rng.random() * 0.005)
    until(lambda: sender.audit().states.get("done") == len(ids))
    ended.set()
    for thread in threads:
        thread.join(10)
    assert sorted(given) == sorted(ids)
    assert sender.audit().balanced
