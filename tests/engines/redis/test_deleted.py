"""Keys that an operator deleted, or that a server threw away: what they held is lost, and the rest goes on."""

from __future__ import annotations

from typing import Any

import pytest

from reliq.engines.redis.engine import RedisEngine
from reliq.policy.clock import VirtualClock
from reliq.ports import records
from reliq.ports.values import Publication, Settlement
from reliq.testing.servers import RedisServer
from reliq.wire.message import Add, Ending, Put, Remove
from tests.engines.redis.conftest import Connect, drain, publication, publish, within

KEYS = [
    "message",
    "born",
    "later",
    "payload",
    "story",
    "on_end",
    "ready:q",
    "due:q",
    "charged:q",
    "held:owner",
    "stop:owner",
    "owner",
    "book",
    "queues",
    "expiring",
    "gone",
    "failed",
    "idle:q",
    "waiting",
    "record",
    "lapsing",
    "tomb",
]


@pytest.fixture
def engine(engine: RedisEngine, clock: VirtualClock) -> RedisEngine:
    """Has messages in every state that waits, one of them charged, and three leased."""
    for n in range(3):
        publish(engine, f"charged-{n}")
    engine.register("crashed", 60.0)
    engine.claim("crashed", ["q"], limit=3, seq=1)
    engine.bury("crashed", started=None)
    clock.advance(2.0)
    engine.reap()
    engine.register("owner", 60.0)
    publish(engine, "leased", queue="p")
    assert engine.claim("owner", ["p"], limit=1, seq=1).deliveries
    for n in range(3):
        publish(engine, f"ready-{n}", on_end=(Ending("any", (Put("ended"),)),))
        publish(engine, f"due-{n}", delay=1_000)
        publish(engine, f"expiring-{n}", expires_in=1_000)
    free = (Ending("done", (Remove("lock", holder="locked"),)),)
    engine.publish(
        [Publication(publication("locked", on_end=free).envelope, (Add("lock", holder="locked"),))]
    )
    engine.store_put("key", b"1", ttl=1)
    clock.advance(1.1)
    return engine


@pytest.mark.parametrize("key", KEYS)
def test_what_comes_after_a_key_was_deleted_is_served(engine: Any, server: RedisServer, key: str) -> None:
    server.do("DEL", f"{{reliq:shop}}:{key}")
    publish(engine, "new")
    engine.register("owner", 60.0)
    assert "new" in drain(engine)


@pytest.mark.parametrize("key", KEYS)
def test_operators_can_look_and_tidy_up_after_a_key_was_deleted(
    engine: Any, server: RedisServer, key: str
) -> None:
    server.do("DEL", f"{{reliq:shop}}:{key}")
    assert engine.depth("q").queue == "q"
    for look in (engine.queues, engine.owners, engine.audit, engine.list, lambda: engine.held("owner")):
        look()
    engine.reap()
    engine.bury("owner", started=None)
    assert engine.cancel("ready-1").status in ("cancelled", "unknown")
    list(records(engine, ""))
    engine.purge("q")
    if key != "book":  # without it nobody knows what was accepted before
        assert engine.depth("q").ready + engine.depth("q").due == 0
    assert engine.held("owner") == []


def test_what_an_owner_held_comes_back_when_it_is_buried_though_owners_were_deleted(
    engine: Any, server: RedisServer
) -> None:
    server.do("DEL", "{reliq:shop}:owner")
    assert engine.renew("owner", 60.0).live is False
    assert [moved.id for moved in engine.bury("owner", started=[]).moved] == ["leased"]
    assert drain(engine, queue="p") == ["leased"]


def test_nothing_is_left_of_messages_whose_rows_were_deleted(engine: Any, server: RedisServer) -> None:
    server.do("DEL", "{reliq:shop}:message")
    engine.bury("owner", started=None)
    drain(engine)
    engine.reap()
    left = server.do("KEYS", "{reliq:shop}:*")
    assert [
        key for key in left if any(f":{kind}" in key for kind in ("ready", "due", "charged", "held:owner"))
    ] == []


def test_a_purge_goes_on_behind_many_whose_rows_were_deleted(connected: Connect, server: RedisServer) -> None:
    engine = connected(server.url)
    ids = [publish(engine) for _ in range(600)]
    server.do("HDEL", "{reliq:shop}:message", *ids[:550])
    assert engine.purge("q") == 50


@pytest.mark.parametrize("lost", ["a", "b", "c"])
def test_of_a_batch_all_but_what_was_deleted_is_settled(
    connected: Connect, server: RedisServer, lost: str
) -> None:
    engine = connected(server.url)
    engine.register("worker", 60.0)
    for id in "abc":
        publish(engine, id)
    deliveries = engine.claim("worker", ["q"], limit=3, seq=1).deliveries
    server.do("HDEL", "{reliq:shop}:message", lost)
    settled = engine.settle([Settlement(delivery.receipt, "done") for delivery in deliveries])
    assert {one.id: one.status for one in settled} == {
        id: "stale" if id == lost else "applied" for id in "abc"
    }
    assert engine.audit().states["done"] == 2


@pytest.mark.parametrize("state", ["ready", "due", "leased", "done"])
def test_an_id_that_was_sent_again_is_not_moved_by_its_former_place(
    connected: Connect, server: RedisServer, clock: VirtualClock, state: str
) -> None:
    """Its row was deleted while it waited for its time, and the time comes."""
    engine: Any = connected(server.url, clock=clock)
    engine.register("owner", 60.0)
    publish(engine, "id", delay=5_000, expires_in=6_000)
    server.do("DEL", "{reliq:shop}:later")
    publish(engine, "id", queue="r", delay=60_000 if state == "due" else 0)
    if state in ("leased", "done"):
        (delivery,) = engine.claim("owner", ["r"], limit=1, seq=1).deliveries
    if state == "done":
        engine.settle([Settlement(delivery.receipt, "done")])
    before = engine.get("id")
    clock.advance(7)
    assert engine.claim("owner", ["q"], limit=1, seq=2).deliveries == ()
    engine.reap()
    assert (before.state, engine.get("id")) == (state, before)
    assert server.do("EXISTS", *("{reliq:shop}:" + name for name in ("due:q", "expiring"))) == 0


def test_an_id_that_was_sent_again_to_another_queue_leaves_its_former_line(
    connected: Connect, server: RedisServer
) -> None:
    engine: Any = connected(server.url)
    engine.register("owner", 60.0)
    publish(engine, "id")
    server.do("DEL", "{reliq:shop}:message")
    publish(engine, "id", queue="r")
    publish(engine, "other")
    (delivery,) = engine.claim("owner", ["r"], limit=1, seq=1).deliveries
    engine.settle([Settlement(delivery.receipt, "done")])
    with within(1):
        assert [one.receipt.id for one in engine.claim("owner", ["q"], limit=1, seq=2).deliveries] == [
            "other"
        ]
    assert server.do("EXISTS", "{reliq:shop}:ready:q") == 0


@pytest.mark.parametrize("where", ["message", "born"])
@pytest.mark.parametrize("lost", ["a", "b", "c"])
def test_of_a_batch_all_but_what_was_deleted_is_claimed(
    connected: Connect, server: RedisServer, where: str, lost: str
) -> None:
    engine = connected(server.url)
    engine.register("worker", 60.0)
    for id in "abc":
        publish(engine, id)
    server.do("HDEL", f"{{reliq:shop}}:{where}", lost)
    deliveries = engine.claim("worker", ["q"], limit=3, seq=1).deliveries
    assert [delivery.receipt.id for delivery in deliveries] == [id for id in "abc" if id != lost]
    assert [receipt.id for receipt in engine.held("worker")] == [id for id in "abc" if id != lost]
