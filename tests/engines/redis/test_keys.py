"""What is kept where: one namespace for each application, other people's keys untouched, nothing without a life."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from reliq.errors import BrokerError
from reliq.policy.clock import VirtualClock
from reliq.ports.values import Settlement
from reliq.testing.servers import RedisServer
from reliq.testing.servers.process import until
from reliq.wire.message import IndexPut, Put
from tests.engines.redis.conftest import Connect, drain, publish
from tests.engines.redis.ear import listening

# What stands for ever: it grows with the number of queues and owners, not of messages.
STANDING = ("book", "queues", "version", "owner")


def keys(server: RedisServer) -> set[str]:
    return set(server.do("KEYS", "*"))


def test_every_key_is_in_the_namespace_of_the_application(connected: Connect, server: RedisServer) -> None:
    engine = connected(server.url)
    for n in range(3):
        publish(engine, f"m-{n}", delay=n * 100_000)
    engine.register("owner", 30)
    engine.claim("owner", ["q"], limit=1, seq=1)
    engine.store_put("key", b"1", ttl=5)
    engine.apply([], [IndexPut("index", "member", 7)])
    assert keys(server)
    assert {key for key in keys(server) if not key.startswith("{reliq:shop}:")} == set()


def test_a_prefix_of_ones_own_replaces_ours(connected: Connect, server: RedisServer) -> None:
    publish(connected(server.url_for(prefix="team")))
    assert all(key.startswith("{team:shop}:") for key in keys(server))


@pytest.mark.parametrize("other", ["shop2", "sho", "shop}", "{shop", "shop:x", "SHOP", "*", "a b"])
def test_applications_do_not_see_one_another(connected: Connect, server: RedisServer, other: str) -> None:
    one, two = connected(server.url, app="shop"), connected(server.url, app=other)
    publish(one, "same")
    publish(two, "same")
    one.store_put("key", b"one")
    two.store_put("key", b"two")
    assert drain(one) == ["same"]
    assert two.depth("q").ready == 1
    assert (one.store_get("key").data, two.store_get("key").data) == (b"one", b"two")  # type: ignore[union-attr]
    assert one.audit().accepted == two.audit().accepted == 1


def test_who_waits_is_told_whatever_the_applications_name(connected: Connect, server: RedisServer) -> None:
    engine = connected(server.url, app="my\tfirst 2 shops")
    engine.register("owner", 30)
    with ThreadPoolExecutor() as pool, listening(server, engine._server.channel) as ear:  # type: ignore[attr-defined]
        claim = pool.submit(engine.claim, "owner", ["q"], limit=1, seq=1, wait=1.0)
        until(lambda: bool(server.do("KEYS", "*:idle:q")), seconds=10, what=lambda: "the claim does not wait")
        id = publish(connected(server.url, app="my\tfirst 2 shops"))
        (delivery,) = claim.result().deliveries
        engine._server.run("get", id.encode(), engine._server.channel.encode())  # type: ignore[attr-defined]
        engine.settle([Settlement(delivery.receipt, "done")])
        assert [said for _, said in ear.heard()][1:] == [id]


def test_keys_of_others_under_our_prefix_are_left_alone(connected: Connect, server: RedisServer) -> None:
    theirs = {"{reliq:shop}": "x", "{reliq:shop}:notes": "y", "{reliq:shop}:ready": "z", "reliq:shop": "w"}
    for key, value in theirs.items():
        server.do("SET", key, value)
    engine = connected(server.url)
    publish(engine)
    assert len(drain(engine)) == 1
    engine.reap()
    assert {key: server.do("GET", key) for key in theirs} == theirs


def test_a_strangers_key_in_the_place_of_ours_is_named_and_not_overwritten(
    connected: Connect, server: RedisServer
) -> None:
    place = "{reliq:shop}:message"
    server.do("SET", place, "a stranger's")
    engine = connected(server.url)
    with pytest.raises(BrokerError, match=r"(?s)WRONGTYPE.*another|another.*WRONGTYPE|reliq:shop"):
        publish(engine, "m")
    assert server.do("GET", place) == "a stranger's"
    server.do("DEL", place)
    publish(engine, "m")  # nothing was left half done
    assert engine.audit().balanced


def test_after_all_lives_are_over_only_what_stands_is_left(connected: Connect, server: RedisServer) -> None:
    clock = VirtualClock()
    engine = connected(server.url, clock=clock)
    engine.register("owner", 3_600)
    for n in range(20):
        publish(engine, f"m-{n}", delay=n, expires_in=2_000_000, keep=1_000, priority=n % 10)
    clock.advance(1)
    claimed = engine.claim("owner", ["q"], limit=15, seq=1)
    engine.settle([Settlement(d.receipt, "done", value=b"1") for d in claimed.deliveries[:10]])
    engine.give_back([d.receipt for d in claimed.deliveries[10:]])
    engine.store_put("key", b"1", ttl=5)
    engine.apply([], [Put("other", b"1", ttl=5_000)])
    engine.bury("owner", started=[])
    for _ in range(4):
        clock.advance(200_000)
        while engine.reap().more:
            pass
        drain(engine, f"owner-{clock.now_ms()}")
        clock.advance(3_601)
        while engine.reap().more:
            pass
    clock.advance(100_000)
    while engine.reap().more:
        pass
    left = {key.removeprefix("{reliq:shop}:") for key in keys(server) if not is_going(server, key)}
    assert left <= set(STANDING), left


def is_going(server: RedisServer, key: str) -> bool:
    """What a call was answered goes by the server's own clock."""
    return ":said:" in key and server.do("PTTL", key) != -1
