"""What is peculiar to the memory engine: names, bounded memory, claims that look for nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from reliq.engines.memory import MemoryEngine, connect
from reliq.errors import BrokerUnavailable, ConfigError
from reliq.policy.clock import VirtualClock
from reliq.ports.values import Publication, Settlement
from reliq.wire.message import Envelope, Put


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def engine(clock: VirtualClock) -> Iterator[MemoryEngine]:
    engine = connect("memory://", clock=clock)
    yield engine
    engine.close()


def publish(engine: MemoryEngine, id: str, **fields: int) -> str:
    (answer,) = engine.publish([Publication(Envelope(1, id, "task", "q", **fields))])
    return answer.status


# --- names ---


def test_without_a_name_every_engine_is_one_of_its_own() -> None:
    one, two = connect("memory://"), connect("memory://")
    publish(one, "m")
    assert two.get("m") is None


def test_engines_with_one_name_share_their_messages() -> None:
    one, two = connect("memory://shared"), connect("memory://shared")
    publish(one, "m")
    assert two.get("m") is not None
    assert connect("memory://another").get("m") is None


def test_closing_one_of_two_that_share_a_name_leaves_the_other_at_work() -> None:
    one, two = connect("memory://closing"), connect("memory://closing")
    publish(one, "m")
    one.close()
    assert two.get("m") is not None
    with pytest.raises(BrokerUnavailable, match="closed"):
        one.get("m")


def test_a_name_is_forgotten_with_the_last_engine_that_used_it() -> None:
    one = connect("memory://gone")
    publish(one, "m")
    del one
    assert connect("memory://gone").get("m") is None


def test_one_engine_of_a_name_wakes_a_call_that_blocks_on_another() -> None:
    one, two = connect("memory://waking"), connect("memory://waking")
    one.register("owner", 30)
    claimed: list[int] = []
    blocked = threading.Thread(
        target=lambda: claimed.append(len(one.claim("owner", ["q"], limit=1, seq=1, wait=1.0).deliveries))
    )
    blocked.start()
    publish(two, "m")
    blocked.join(5)
    assert claimed == [1]


def test_one_name_has_one_clock() -> None:
    first = connect("memory://clocks", clock=VirtualClock())
    with pytest.raises(ConfigError, match="another clock"):
        connect("memory://clocks", clock=VirtualClock())
    first.close()


@pytest.mark.parametrize("url", ["memory://a/b", "memory://?x=1", "sqlite://", "memory"])
def test_another_address_is_refused_with_the_right_one(url: str) -> None:
    with pytest.raises(ConfigError, match="memory://"):
        connect(url)


# --- nothing grows without bound ---


def test_what_was_published_and_cancelled_leaves_no_trace_in_the_lines(
    engine: MemoryEngine, clock: VirtualClock
) -> None:
    publish(engine, "kept")
    for n in range(5_000):
        publish(engine, f"m-{n}", expires_in=1_000_000, keep=0)
        engine.cancel(f"m-{n}")
    messages = engine._memory.messages
    line = messages.lines["q"]
    assert sum(len(heap._entries) for heap in (line.ready, line.charged, line.due, messages.expiring)) < 300
    clock.advance(60)
    while engine.reap().more:
        pass
    assert list(messages.by_id) == ["kept"]
    assert messages._tombstones == {} and messages._tombstone_ends == []
    assert len(messages.ended._entries) <= 64


def test_a_queue_without_live_messages_is_forgotten(engine: MemoryEngine) -> None:
    for n in range(100):
        (answer,) = engine.publish([Publication(Envelope(1, f"m-{n}", "task", f"queue-{n}"))])
        engine.cancel(answer.id)
    assert engine._memory.messages.lines == {}


def test_records_written_again_and_again_are_kept_once(engine: MemoryEngine, clock: VirtualClock) -> None:
    for n in range(5_000):
        engine.apply([], [Put("key", str(n).encode(), ttl=1_000_000)])
        engine.store_touch("key", ttl=1_000.0)
    assert len(engine._memory.records._lapses) < 200
    clock.advance(1_000)
    engine.reap()
    assert engine._memory.records._by_key == {} and engine._memory.records._keys == []


def test_graves_are_forgotten(engine: MemoryEngine, clock: VirtualClock) -> None:
    for n in range(100):
        engine.register(f"owner-{n}", 30)
        engine.bury(f"owner-{n}", started=[])
    clock.advance(61)
    engine.reap()
    assert engine._memory.graves == {}


def test_a_step_that_fails_leaves_the_lock_free(engine: MemoryEngine) -> None:
    with pytest.raises(ValueError, match="512"):
        engine.store_get("")
    assert engine.store_get("key") is None


# --- speed: a claim looks for nothing ---


def test_a_claim_takes_no_longer_beside_many_that_wait(engine: MemoryEngine) -> None:
    def seconds_of_a_claim(base: int) -> float:
        best = 1.0
        for seq in range(base, base + 20):
            began = time.perf_counter()
            (delivery,) = engine.claim("owner", ["q"], limit=1, seq=seq).deliveries
            engine.settle([Settlement(delivery.receipt, "done")])
            best = min(best, time.perf_counter() - began)
        return best

    engine.register("owner", 1e6)
    for n in range(50):
        publish(engine, f"few-{n}", priority=9)
    few = seconds_of_a_claim(1)
    engine.publish(
        [Publication(Envelope(1, f"many-{n}", "task", "q", delay=n % 2 * 1_000_000)) for n in range(20_000)]
    )
    many = seconds_of_a_claim(100)
    # A scan of 20,000 messages would be a hundred times slower; the margin is for a busy machine.
    assert many < 10 * few + 0.001
