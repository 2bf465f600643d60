"""More in one call than one script may take.

Lua's stack has room for some thousands of arguments, the server has limits for what a client sends and for what is on
its way to one, and what is sent must arrive in time.
"""

from __future__ import annotations

from typing import Any

import pytest

from reliq.plugins import open_engine
from reliq.policy.ids import new_id
from reliq.ports import records
from reliq.ports.values import Publication, Settlement
from reliq.testing.servers import RedisServer
from reliq.wire.message import Add, Ending, Envelope, Incr, Remove
from tests.engines.redis.conftest import Connect, publication, publish

MANY = 9_000


@pytest.fixture
def engine(reliq_redis: RedisServer) -> Any:
    reliq_redis.flush()
    engine = open_engine(reliq_redis.url, app="large")
    yield engine
    engine.close()


def test_nine_thousand_messages_are_published_held_settled_and_buried(engine: Any) -> None:
    answers = engine.publish(
        [Publication(Envelope(v=1, id=new_id(), task="t", queue="q")) for _ in range(MANY)]
    )
    assert {answer.status for answer in answers} == {"accepted"}
    engine.register("owner", 60.0)
    held: list[Any] = []
    for seq in range(1, 100):
        claimed = engine.claim("owner", ["q"], limit=MANY, seq=seq)
        if not claimed.deliveries:
            break
        held += claimed.deliveries
    assert len(held) == len(engine.held("owner")) == MANY
    done = [Settlement(delivery.receipt, "done", value=b"1") for delivery in held[:3_000]]
    claimed = engine.claim("owner", ["q"], limit=1, seq=200, settlements=done)
    assert [settled.id for settled in claimed.settled] == [one.receipt.id for one in done]
    assert {settled.status for settled in claimed.settled} == {"applied"}
    claimed = engine.claim_ahead("owner", ["q"], limit=MANY, seq=201, settlements=done)()
    assert {settled.status for settled in claimed.settled} == {"repeated"}
    assert len(engine.bury("owner", started=None).moved) == MANY - 3_000
    assert engine.purge("q") == MANY - 3_000
    audit = engine.audit()
    assert audit.balanced
    assert (audit.states["done"], audit.states["dropped"]) == (3_000, MANY - 3_000)


SIZE, HEAVY = 1_000_000, 12  # bytes of a message, and more of them than the servers here take at once


@pytest.fixture
def narrow(reliq_redis_server: Any) -> RedisServer:
    """Ends the connection of who sends, or has on its way, 8 MiB and more; by default it does at much more."""
    limits = {"client-query-buffer-limit": "8mb", "client-output-buffer-limit": "pubsub 8mb 8mb 1"}
    server: RedisServer = reliq_redis_server()
    for name, value in limits.items():
        server.do("CONFIG", "SET", name, value)
    return server


def test_large_messages_come_and_go_in_pieces_that_the_server_takes(
    connected: Connect, narrow: RedisServer
) -> None:
    engine: Any = connected(narrow.url)
    engine.register("owner", 60.0)
    engine.claim("owner", ["q"], limit=1, seq=1, wait=0.001)  # from now on it listens
    link = engine._server._link
    sent = [publication(f"m-{n}", body=b"x" * SIZE) for n in range(HEAVY)]
    assert {answer.status for answer in engine.publish(sent)} == {"accepted"}
    held: list[Any] = []
    for seq in range(2, 2 + HEAVY):
        held += engine.claim("owner", ["q"], limit=100, seq=seq, wait=0.001).deliveries
    assert [delivery.receipt.id for delivery in held] == [one.envelope.id for one in sent]
    assert {len(delivery.payload) > SIZE for delivery in held} == {True}
    done = [Settlement(delivery.receipt, "done", value=b"y" * SIZE) for delivery in held]
    claimed = engine.claim("owner", ["q"], limit=1, seq=50, settlements=done)
    assert {settled.status for settled in claimed.settled} == {"applied"}
    claimed = engine.claim_ahead("owner", ["q"], limit=1, seq=51, settlements=done)()
    assert {settled.status for settled in claimed.settled} == {"repeated"}
    assert {settled.status for settled in engine.settle(done)} == {"repeated"}
    assert engine._server._link is link  # none was lost


def test_who_leaves_messages_behind_for_want_of_room_wakes_the_next(
    connected: Connect, server: RedisServer
) -> None:
    engine = connected(server.url)
    engine.publish([publication(body=b"x" * SIZE) for _ in range(HEAVY)])
    engine.register("owner", 60.0)
    engine.register("idler", 60.0)
    server.do("SADD", "{reliq:shop}:idle:q", "channel 1 idler")
    assert len(engine.claim("owner", ["q"], limit=100, seq=1).deliveries) == 4
    assert server.do("EXISTS", "{reliq:shop}:idle:q") == 0  # it was told


def test_a_message_that_comes_again_brings_its_payload(connected: Connect, server: RedisServer) -> None:
    engine = connected(server.url)
    publish(engine, "m", body=b"x" * 10)
    engine.register("owner", 60.0)
    first = engine.claim("owner", ["q"], limit=1, seq=1)
    assert engine.claim("owner", ["q"], limit=1, seq=1).deliveries == first.deliveries
    server.do("DEL", "{reliq:shop}:payload")
    (again,) = engine.claim("owner", ["q"], limit=1, seq=1).deliveries
    assert again.payload == b""


def test_a_failure_half_way_through_a_large_publish_refuses_only_the_rest(
    connected: Connect, own: RedisServer
) -> None:
    engine: Any = connected(own.url)
    publish(engine, "first")
    send = engine._send

    def send_and_fill(*some: Any) -> Any:
        answers = send(*some)
        own.do("CONFIG", "SET", "maxmemory", "1")
        return answers

    engine._send = send_and_fill
    answers = engine.publish([publication(f"m-{n}") for n in range(2_500)])
    assert [answer.status for answer in answers] == ["accepted"] * 1_000 + ["refused"] * 1_500
    assert "takes no more" in answers[-1].error
    own.do("CONFIG", "SET", "maxmemory", "0")
    assert engine.audit().accepted == 1_001


@pytest.mark.parametrize("moment", [2**52, 2**53, 2**60])
def test_moments_beyond_all_time_are_not_now(connected: Connect, server: RedisServer, moment: int) -> None:
    engine = connected(server.url)
    publish(engine, "due", eta=moment)
    publish(engine, "expiring", expires=moment)
    engine.reap()
    engine.register("owner", 60.0)
    claimed = engine.claim("owner", ["q"], limit=10, seq=1)
    assert [delivery.receipt.id for delivery in claimed.deliveries] == ["expiring"]
    assert engine.depth("q").due == 1


def test_the_first_of_many_are_listed_without_keeping_them_all(
    connected: Connect, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reliq.engines.redis.operators.KEPT", 0)
    monkeypatch.setattr("reliq.engines.redis.operators.LOOKED_AT", b"10")
    engine = connected(server.url)
    ids = [publish(engine, f"m-{n}") for n in range(100)]
    assert [record.id for record in engine.list(limit=3)] == ids[:3]
    assert [record.id for record in engine.list(limit=3, after=ids[2])] == ids[3:6]
    assert [record.id for record in engine.list(limit=200)] == ids


def test_a_sum_that_scripts_cannot_tell_is_refused(connected: Connect, server: RedisServer) -> None:
    engine = connected(server.url)
    most = 2**53 - 1
    engine.store_put("up", b"%d" % (most - 1))
    assert engine.store_incr("up") == most
    engine.store_put("down", b"%d" % -most)
    for key, by in (("up", 1), ("down", -1), ("absent", most + 2)):
        with pytest.raises(ValueError, match=r"2\*\*53"):
            engine.store_incr(key, by)
        assert engine.apply([], [Incr(key, by)]).skipped == 1
    assert engine.store_get("up").data == b"%d" % most  # type: ignore[union-attr]


def test_a_batch_is_settled_whose_messages_free_nine_thousand_keys(engine: Any) -> None:
    def holds(n: int) -> Publication:
        id, keys = f"m-{n}", [f"{n}-{k}" for k in range(90)]
        frees = Ending("any", tuple(Remove(key, value=b"") for key in keys))
        return Publication(
            publication(id, on_end=(frees,)).envelope, tuple(Add(key, holder=id) for key in keys)
        )

    assert {one.status for one in engine.publish([holds(n) for n in range(100)])} == {"accepted"}
    engine.register("owner", 60.0)
    claimed = engine.claim("owner", ["q"], limit=100, seq=1)
    settled = engine.settle([Settlement(delivery.receipt, "done") for delivery in claimed.deliveries])
    assert [one.status for one in settled] == ["applied"] * 100
    assert list(records(engine, "")) == []
