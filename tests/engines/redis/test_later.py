"""Messages that wait for their time stand by themselves, and are messages like all others."""

from __future__ import annotations

import pytest

from reliq.engines.redis import operators
from reliq.engines.redis.engine import RedisEngine
from reliq.policy.clock import VirtualClock
from reliq.testing.servers import RedisServer
from tests.engines.redis.conftest import drain, publication, publish

SPACE = "{reliq:shop}:"
LARGE = b"x" * 3000


def lengths(server: RedisServer) -> dict[str, int]:
    return {name: server.do("HLEN", SPACE + name) for name in ("later", "message", "born", "payload")}


def test_the_hashes_of_the_others_do_not_grow_with_what_waits(
    engine: RedisEngine, server: RedisServer
) -> None:
    for n in range(5):
        publish(engine, f"due-{n}", delay=1_000)
    publish(engine, "ready")
    assert lengths(server) == {"later": 5, "message": 1, "born": 1, "payload": 1}


@pytest.mark.parametrize("body", [b"[[],{}]", LARGE], ids=["small", "large"])
def test_it_is_given_whole_when_its_time_has_come(
    engine: RedisEngine, server: RedisServer, clock: VirtualClock, body: bytes
) -> None:
    publish(engine, "due", delay=1_000, body=body)
    assert lengths(server)["later"] == (body != LARGE)
    before = engine.get("due")
    clock.advance(1.0)
    engine.register("owner", 60.0)
    (delivery,) = engine.claim("owner", ["q"], limit=5, seq=1).deliveries
    assert before is not None
    assert body in before.payload
    assert delivery.payload == before.payload
    assert lengths(server) == {"later": 0, "message": 1, "born": 1, "payload": 1}


@pytest.mark.parametrize("number", [1, 2, 3])
def test_its_id_is_taken(engine: RedisEngine, number: int) -> None:
    """Published again alone, among plain ones, and among others."""
    publish(engine, "due", delay=1_000)
    again = [publication("due"), publication("new"), publication("other", expires_in=5_000)]
    answers = engine.publish(again[:number])
    assert [answer.status for answer in answers] == ["duplicate", "accepted", "accepted"][:number]
    assert engine.depth("q").due == 1


def test_what_ends_before_its_time_has_a_record_like_others(
    engine: RedisEngine, server: RedisServer, clock: VirtualClock
) -> None:
    publish(engine, "cancelled", delay=5_000)
    publish(engine, "expired", delay=5_000, expires_in=1_000)
    publish(engine, "stays", delay=5_000)
    engine.cancel("cancelled")
    clock.advance(1.0)
    engine.reap()
    found = {record.id: record.reason for record in engine.list(states=["dropped"])}
    assert found == {"cancelled": "cancelled", "expired": "expired"}
    assert all(record.payload for record in engine.list())
    assert lengths(server) == {"later": 1, "message": 2, "born": 2, "payload": 2}


def test_one_that_is_put_off_does_not_come_back(
    engine: RedisEngine, server: RedisServer, clock: VirtualClock
) -> None:
    publish(engine, "due", delay=1_000)
    clock.advance(1.0)
    engine.register("owner", 1.0)
    assert engine.claim("owner", ["q"], limit=1, seq=1).deliveries
    engine.bury("owner", started=None)
    record = engine.get("due")
    assert record is not None
    assert (record.state, record.reason, lengths(server)["later"]) == ("due", "crashed", 0)


def test_a_look_at_all_messages_sees_both_kinds(
    engine: RedisEngine, server: RedisServer, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In small slices, and also when some are promoted between two of them."""
    monkeypatch.setattr(operators, "LOOKED_AT", b"10")
    due = {publish(engine, f"due-{n}", delay=1_000) for n in range(200)}
    ready = {publish(engine, f"ready-{n}") for n in range(200)}
    assert {record.id for record in engine.list(limit=1_000)} == due | ready
    assert engine.audit().states["due"] == 200
    seen: set[str] = set()
    for n, (id, _) in enumerate(engine._scan()):
        seen.add(id)
        if n == 100:
            clock.advance(1.0)
            engine.reap()
    assert seen == due | ready
    assert lengths(server)["later"] == 0
    assert len(drain(engine)) == 400
