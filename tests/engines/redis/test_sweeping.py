"""What a sweep does that no answer shows: keys that go, and what it leaves to the next."""

from __future__ import annotations

from reliq.engines.redis.engine import RedisEngine
from reliq.policy.clock import VirtualClock
from reliq.testing.servers import RedisServer
from tests.engines.redis.conftest import publish

SPACE = "{reliq:shop}:"


def test_a_queue_is_forgotten_when_nothing_waits_in_it(
    engine: RedisEngine, server: RedisServer, clock: VirtualClock
) -> None:
    for queue in ("empty", "ready", "due", "charged"):
        publish(engine, queue, queue=queue, delay=100_000 if queue == "due" else 0)
    engine.register("owner", 1)
    engine.claim("owner", ["charged"], limit=1, seq=1)
    engine.cancel("empty")
    clock.advance(2)
    engine.reap()
    assert sorted(server.do("SMEMBERS", SPACE + "queues")) == ["charged", "due", "ready"]
    clock.advance(2)
    engine.reap()
    assert server.do("ZCARD", SPACE + "charged:charged") == 1
    assert sorted(server.do("SMEMBERS", SPACE + "queues")) == ["charged", "due", "ready"]


def test_a_sweep_that_comes_too_late_buries_nobody(engine: RedisEngine, clock: VirtualClock) -> None:
    engine.register("owner", 1)
    clock.advance(5)
    now = clock.now_ms()
    engine._server.run("reap", b"1000", b"0", b"60000", b"%d" % (now - 1))
    assert [owner.owner for owner in engine.owners()] == ["owner"]
    engine._server.run("reap", b"1000", b"0", b"60000", b"%d" % now)
    assert engine.owners() == []


def test_what_a_sweep_has_no_room_for_is_left_to_the_next(
    engine: RedisEngine, server: RedisServer, clock: VirtualClock
) -> None:
    """An owner that held more than the limit takes all of it."""
    for n in range(3):
        publish(engine, f"own-{n}", queue="own")
    engine.register("owner", 1)
    engine.claim("owner", ["own"], limit=3, seq=1)
    publish(engine, "due", delay=1_000)
    publish(engine, "expired", expires_in=1_000)
    publish(engine, "gone", keep=0)
    engine.cancel("gone")
    engine.store_put("lapsed", b"", ttl=1.0)
    clock.advance(2)

    def left() -> list[int]:
        counts = [
            ("ZCARD", "due:q"),
            ("ZCARD", "expiring"),
            ("HEXISTS", "message", "gone"),
            ("HLEN", "record"),
        ]
        return [server.do(command, SPACE + key, *more) for command, key, *more in counts]

    assert engine.reap(2).more
    assert left() == [1, 1, 1, 1]
    while engine.reap(2).more:
        pass
    assert left() == [0, 0, 0, 0]


def test_a_name_is_free_a_minute_after_its_owner_was_buried_though_no_sweep_came(
    engine: RedisEngine, clock: VirtualClock
) -> None:
    engine.register("owner", 30)
    engine.bury("owner", started=[])
    clock.advance(60)
    engine.register("owner", 30)
    assert [owner.owner for owner in engine.owners()] == ["owner"]


def test_an_id_that_strayed_into_a_structure_stops_nobody(engine: RedisEngine, server: RedisServer) -> None:
    server.do("ZADD", SPACE + "expiring", 1, "stray")
    publish(engine, "m", expires_in=5_000)
    engine.register("owner", 30)
    assert len(engine.claim("owner", ["q"], limit=1, seq=1).deliveries) == 1
    assert engine.reap().moved == ()


def test_the_oldest_is_found_beside_what_was_deleted(
    engine: RedisEngine, server: RedisServer, clock: VirtualClock
) -> None:
    for id in ("oldest", "deleted", "last"):
        publish(engine, id)
        clock.advance(1)
    server.do("HDEL", SPACE + "message", "deleted")
    assert engine.depth("q").oldest == clock.now_ms() - 3_000
