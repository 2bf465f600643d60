"""What a sweep does that no answer shows: keys that go, and what it leaves to the next."""

from __future__ import annotations

import pytest

from reliq.engines.redis.engine import RedisEngine
from reliq.policy.clock import VirtualClock
from reliq.ports import records
from reliq.ports.values import Ended, Publication, Value
from reliq.testing.servers import RedisServer
from reliq.wire.message import Add, Ending, Remove
from tests.engines.redis.conftest import Connect, drain, publication, publish

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


# --- one for all ---


def sweepers(connected: Connect, server: RedisServer, clock: VirtualClock) -> list[RedisEngine]:
    """Three workers, which renew now and then."""
    engines = [connected(server.url, clock=clock) for _ in range(3)]
    for n, engine in enumerate(engines):
        engine.register(f"owner-{n}", 60)
    return engines  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("renewal", "every", "sweeps"), [(2, 3.0, 20), (4, 6.0, 10)], ids=["at work", "idle"]
)
def test_of_all_workers_one_sweeps_and_the_others_do_not_even_ask(
    connected: Connect, server: RedisServer, clock: VirtualClock, renewal: int, every: float, sweeps: int
) -> None:
    engines = sweepers(connected, server, clock)
    due, asked = dict.fromkeys(range(3), 0.0), [0, 0, 0]
    for n, engine in enumerate(engines):
        run = engine._server.run
        engine._server.run = lambda name, *more, n=n, run=run: (  # type: ignore[method-assign]
            asked.__setitem__(n, asked[n] + (name == "reap")),
            run(name, *more),
        )[1]
    for tick in range(80):  # 20 seconds
        at = tick / 4
        for n, engine in enumerate(engines):
            if tick % (4 * renewal) == n:
                engine.renew(f"owner-{n}", 60)
            if at >= due[n]:
                due[n] = at + engine.sweep(every=every)[1]
        clock.advance(0.25)
    assert asked[0] == sweeps
    assert sum(asked[1:]) <= 2  # before the first renewal


def test_when_the_one_that_sweeps_is_gone_the_dead_are_found_as_soon_as_ever(
    connected: Connect, server: RedisServer, clock: VirtualClock
) -> None:
    first, second, third = sweepers(connected, server, clock)
    first.register("dead", 0.5)
    assert first.sweep(every=3.0)[1] == 1.0
    clock.advance(1.0)
    second.renew("owner-1", 60)
    third.renew("owner-2", 60)
    ended, left = second.sweep(every=3.0)
    assert (ended.owners, round(left, 2)) == ((), 2.0)
    clock.advance(left)
    assert second.sweep(every=3.0) == (Ended(owners=("dead",)), 1.0)
    assert third.sweep(every=3.0)[1] == 3.0  # it comes too, a moment later
    assert first.sweep(every=3.0)[1] == 3.0  # it was only held up, and leads no more
    clock.advance(1.0)
    assert first.sweep(every=3.0)[1] == 2.0


def test_one_whose_sweeps_come_too_late_keeps_nobody_from_sweeping(
    connected: Connect, server: RedisServer, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, other, _ = sweepers(connected, server, clock)
    other.register("dead", 0.5)
    clock.advance(1.0)
    with monkeypatch.context() as patched:
        patched.setattr("reliq.engines.redis.engine.FRESH", -1)  # its requests are long on their way
        assert slow.sweep(every=3.0)[0] == Ended()
    other.renew("owner-1", 60)
    assert other.sweep(every=3.0) == (Ended(owners=("dead",)), 1.0)


def test_a_moment_that_is_still_to_come_keeps_nobody_from_sweeping(
    engine: RedisEngine, server: RedisServer, clock: VirtualClock
) -> None:
    engine.register("owner", 60)
    engine.sweep(every=3.0)
    clock.jump(-3_600)
    engine.renew("owner", 60)
    publish(engine, "m", expires_in=1)
    clock.advance(0.1)
    assert [moved.id for moved in engine.sweep(every=3.0)[0].moved] == ["m"]


def test_records_that_went_with_a_done_message_are_swept_with_it(
    engine: RedisEngine, server: RedisServer, clock: VirtualClock
) -> None:
    """Until then they cost nothing but their memory; a lapsed one goes when its time is over."""
    for id, ttl in (("kept", None), ("lapsing", 5_000)):
        free = (Ending("done", (Remove(id, holder=id),)),)
        (answer,) = engine.publish(
            [Publication(publication(id, keep=30_000, on_end=free).envelope, (Add(id, ttl=ttl, holder=id),))]
        )
        assert answer.status == "accepted"
    assert sorted(drain(engine)) == ["kept", "lapsing"]
    assert (engine.store_get("kept"), server.do("HLEN", SPACE + "record")) == (None, 2)
    clock.advance(6)
    engine.reap()
    assert server.do("HKEYS", SPACE + "record") == ["kept"]
    clock.advance(25)
    engine.reap()
    assert server.do("EXISTS", *(SPACE + name for name in ("record", "lapsing", "on_end"))) == 0


def test_a_sweep_says_that_more_records_have_lapsed_than_it_took(
    engine: RedisEngine, server: RedisServer, clock: VirtualClock
) -> None:
    for n in range(25):
        engine.store_put(f"k-{n}", b"", ttl=1.0)
    clock.advance(2)
    said = [engine.reap(limit=10).more for _ in range(3)]
    assert (said, server.do("EXISTS", SPACE + "record")) == ([True, True, False], 0)


def test_lapsed_records_of_what_is_leased_keep_no_others_from_being_swept(
    engine: RedisEngine, server: RedisServer, clock: VirtualClock
) -> None:
    engine.register("owner", 1_000)
    for n in range(20):
        publish(engine, f"m-{n}")
        engine.store_put(f"held-{n}", b"", ttl=1.0, holder=f"m-{n}")
    engine.claim("owner", ["q"], limit=20, seq=1)
    clock.advance(2)
    assert [engine.reap(limit=10).more for _ in range(3)] == [True, True, False]
    engine.store_put("other", b"", ttl=1.0)
    clock.advance(2)
    assert not engine.reap(limit=10).more
    assert server.do("HEXISTS", SPACE + "record", "other") == 0
    assert server.do("HLEN", SPACE + "record") == 20
    assert [engine.store_get(f"held-{n}") is None for n in range(20)] == [False] * 20


def test_a_key_whose_record_came_anew_after_somebody_deleted_it_is_in_no_bin(
    engine: RedisEngine, server: RedisServer, clock: VirtualClock
) -> None:
    engine.store_put("key", b"", ttl=1.0)
    ends = clock.now_ms() // 1000 + 1
    assert server.do("ZRANGE", SPACE + "lapsing", 0, -1) == [str(ends)]
    assert server.do("SMEMBERS", f"{SPACE}lapsing:{ends}") == ["key"]
    server.do("HDEL", SPACE + "record", "key")
    engine.store_put("key", b"1")
    clock.advance(2)
    engine.reap()
    assert (engine.store_get("key") or Value(b"")).data == b"1"
    assert server.do("EXISTS", SPACE + "lapsing") == 0


def test_a_full_server_is_swept(engine: RedisEngine, server: RedisServer, clock: VirtualClock) -> None:
    """Though a record has to be written that lapsed while its holder is leased."""
    engine.register("owner", 1_000)
    publish(engine, "m")
    engine.store_put("key", b"", ttl=1.0, holder="m")
    engine.claim("owner", ["q"], limit=1, seq=1)
    clock.advance(2)
    server.do("CONFIG", "SET", "maxmemory", 1)
    try:
        engine.reap()
    finally:
        server.do("CONFIG", "SET", "maxmemory", 0)
    assert server.do("SMEMBERS", SPACE + "lapsing:1") == ["key"]


def test_what_lapses_far_off_shares_a_bin_until_its_hour_comes(
    engine: RedisEngine, server: RedisServer, clock: VirtualClock
) -> None:
    for n in range(5):
        engine.store_put(f"k-{n}", b"", ttl=86_400.0 + n)
    assert server.do("ZCARD", SPACE + "lapsing") <= 2
    clock.advance(86_399)
    engine.reap()
    assert [key for key, _ in sorted(records(engine, ""))] == [f"k-{n}" for n in range(5)]
    for n in range(5):
        clock.advance(1)
        engine.reap()
        assert server.do("HLEN", SPACE + "record") == 4 - n
    clock.advance(1)
    engine.reap()
    assert server.do("EXISTS", SPACE + "lapsing") == 0
