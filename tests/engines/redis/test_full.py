"""A server without room: each publish confirmed or refused in time, and what was confirmed is done (fault F11)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from reliq.errors import BrokerFull
from reliq.ports.values import Applied
from reliq.testing.servers import RedisServer
from reliq.wire.message import CancelMessage, Effect, Put, Remove
from tests.engines.redis.conftest import Connect, drain, publication, publish, within

Start = Callable[..., RedisServer]
BODY = b'[["' + b"x" * 20_000 + b'"],{}]'


@pytest.fixture
def full(reliq_redis_server: Start) -> RedisServer:
    server = reliq_redis_server()
    server.do("CONFIG", "SET", "maxmemory", int(server.info("memory")["used_memory"]) + 3_000_000)
    return server


def fill(connected: Connect, server: RedisServer) -> tuple[list[str], int]:
    """Publish until ten in a row are refused; the ids that were confirmed, and how many were refused."""
    engine = connected(server.url)
    confirmed: list[str] = []
    refused = 0
    while refused < 10:
        with within():
            try:
                confirmed.append(publish(engine, body=BODY))
            except BrokerFull:
                refused += 1
        assert len(confirmed) < 1000, "the server never was full"
    # What buffers give back later is not to make room for one more.
    server.do("CONFIG", "SET", "maxmemory", int(server.info("memory")["used_memory"]) - 300_000)
    return confirmed, refused


def test_each_publish_is_confirmed_or_refused_and_nothing_confirmed_is_lost(
    connected: Connect, full: RedisServer
) -> None:
    confirmed, _ = fill(connected, full)
    assert confirmed
    full.do("CONFIG", "SET", "maxmemory", 0)
    engine = connected(full.url)
    assert engine.audit().accepted == len(confirmed)
    publish(engine, "again")
    assert sorted(drain(engine)) == sorted([*confirmed, "again"])
    assert engine.audit().balanced


def test_a_full_server_can_be_worked_empty(connected: Connect, full: RedisServer) -> None:
    confirmed, _ = fill(connected, full)
    with within(15):
        assert sorted(drain(connected(full.url))) == sorted(confirmed)


def test_what_would_write_nothing_is_not_refused(connected: Connect, full: RedisServer) -> None:
    fill(connected, full)
    engine = connected(full.url)
    nothing: tuple[Effect, ...] = (Remove("nobody's lock"), CancelMessage("unknown", "why"))
    assert engine.apply((), nothing) == Applied(True, skipped=2)
    with pytest.raises(BrokerFull):
        engine.apply((), (*nothing, Put("key", b"data")))


@pytest.mark.parametrize("others", [0, 1])
def test_what_is_there_already_is_a_duplicate(connected: Connect, full: RedisServer, others: int) -> None:
    confirmed, _ = fill(connected, full)
    again = [publication(id) for id in confirmed[: 1 + others]]
    assert [answer.status for answer in connected(full.url).publish(again)] == ["duplicate"] * len(again)


def test_the_refusal_names_the_server_and_the_cause(connected: Connect, full: RedisServer) -> None:
    fill(connected, full)
    with pytest.raises(BrokerFull, match=rf"(?s){full.address[1]}.*(OOM|maxmemory)"):
        publish(connected(full.url), body=BODY)


def test_of_a_batch_that_does_not_fit_nothing_is_half_done(connected: Connect, full: RedisServer) -> None:
    fill(connected, full)
    engine = connected(full.url)
    accepted = engine.audit().accepted
    with within(), pytest.raises(BrokerFull):
        engine.publish([publication(f"batch-{n}", body=BODY) for n in range(5)])
    assert engine.audit().accepted == accepted
    assert [engine.get(f"batch-{n}") for n in range(5)] == [None] * 5
    assert engine.audit().balanced


def test_a_disk_that_takes_no_snapshot_refuses_until_it_does(
    connected: Connect, reliq_redis_server: Start
) -> None:
    from reliq.testing.servers.process import until

    server = reliq_redis_server(settings={"dbfilename": "dump"})
    engine = connected(server.url)
    publish(engine, "before")
    obstacle = server.folder / "dump" / "x"
    obstacle.mkdir(parents=True)  # a folder with something in it, which no file can replace
    server.do("CONFIG", "SET", "save", "3600 1000000")

    def snapshot(status: str) -> None:
        def done() -> bool:
            info = server.info("persistence")
            return info["rdb_bgsave_in_progress"] == "0" and info["rdb_last_bgsave_status"] == status

        server.do("BGSAVE")
        until(done, seconds=10, what=server.process.tail)

    snapshot("err")
    with within(), pytest.raises(BrokerFull, match="MISCONF"):
        publish(engine, "while")
    assert engine.get("before") is not None
    obstacle.rmdir()
    (server.folder / "dump").rmdir()
    snapshot("ok")
    publish(engine, "while")
    assert engine.audit().accepted == 2
