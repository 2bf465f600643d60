"""Who waits for the end of a message stands in `waiting`, is told once, and leaves nothing behind."""

from __future__ import annotations

from reliq.engines.redis.engine import RedisEngine
from reliq.policy.clock import VirtualClock
from reliq.testing.servers import RedisServer
from tests.engines.redis.conftest import publish
from tests.engines.redis.ear import listening

WAITING = "{reliq:shop}:waiting"


def wait(engine: RedisEngine, id: str, channel: str) -> None:
    """What `engine.wait` does before it sleeps."""
    engine._server.run("get", id.encode(), channel.encode())


def test_all_that_wait_are_told_once_each_of_their_own_message(
    engine: RedisEngine, server: RedisServer
) -> None:
    for id in ("m", "silent", "other"):
        publish(engine, id)
    for id, channel in (("m", "one"), ("m", "two"), ("m", "one"), ("other", "three")):
        wait(engine, id, channel)
    with listening(server, "one", "two", "three") as ear:
        engine.cancel("silent")
        assert ear.heard() == []
        engine.cancel("m")
        assert sorted(ear.heard()) == [("one", "m"), ("two", "m")]
        assert server.do("HKEYS", WAITING) == ["other"]
        engine.cancel("m")
        engine.cancel("other")
        assert ear.heard() == [("three", "other")]
    assert server.do("EXISTS", WAITING) == 0


def test_those_are_told_whose_messages_end_in_one_step(
    engine: RedisEngine, server: RedisServer, clock: VirtualClock
) -> None:
    ids = [publish(engine, f"m-{n}", expires_in=1_000) for n in range(3)]
    for id in ids[1:]:
        wait(engine, id, "here")
    clock.advance(1)
    with listening(server, "here") as ear:
        engine.reap()
        assert ear.heard() == [("here", id) for id in ids[1:]]


def test_nobody_waits_for_what_has_ended(engine: RedisEngine, server: RedisServer) -> None:
    publish(engine, "m")
    engine.cancel("m")
    wait(engine, "m", "here")
    wait(engine, "never", "here")
    assert server.do("EXISTS", WAITING) == 0


def test_a_look_is_no_wait(engine: RedisEngine, server: RedisServer) -> None:
    publish(engine, "m")
    engine.get("m")
    assert server.do("EXISTS", WAITING) == 0
