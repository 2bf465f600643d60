"""Answers that pass by themselves: asked again until they have, and an error in time where they do not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from reliq.errors import BrokerUnavailable
from reliq.testing.servers import RedisServer, Said
from reliq.testing.servers.talk import Talk
from tests.engines.redis.conftest import Connect, drain, publish, within

Start = Callable[..., RedisServer]


@pytest.fixture
def own(reliq_redis_server: Start) -> RedisServer:
    return reliq_redis_server()


def test_noscript_is_answered_with_the_script(connected: Connect, own: RedisServer) -> None:
    engine = connected(own.url)
    publish(engine, "one")
    for id in ("two", "three"):
        own.do("SCRIPT", "FLUSH", "SYNC")
        publish(engine, id)
    assert drain(engine) == ["one", "two", "three"]
    assert (
        int(own.info("memory")["number_of_cached_scripts"]) < 10
    )  # one for each operation, not for each call


@contextmanager
def busy(server: RedisServer) -> Iterator[None]:
    """The server runs a script that does not end, until the body is over."""
    limit = "busy-reply-threshold" if server.binary.version >= (7,) else "lua-time-limit"
    server.do("CONFIG", "SET", limit, 10)
    talk = server.talk()
    ended = threading.Event()

    def run() -> None:
        with pytest.raises(Said, match="killed"):
            talk.do("EVAL", "while true do end", 0)
        ended.set()

    threading.Thread(target=run, daemon=True).start()
    try:
        _until_it_says(server, "BUSY")
        yield
    finally:
        if not ended.is_set():
            server.do("SCRIPT", "KILL")
        assert ended.wait(5)
        talk.close()


def test_busy_is_waited_for(connected: Connect, own: RedisServer) -> None:
    engine = connected(own.url)
    publish(engine, "before")
    with busy(own):
        killer = threading.Timer(0.5, lambda: own.do("SCRIPT", "KILL"))
        killer.start()
        with within():
            publish(engine, "while")
        killer.join()
    assert drain(engine) == ["before", "while"]


def test_a_server_that_stays_busy_is_unavailable_in_time_and_for_certain(
    connected: Connect, own: RedisServer
) -> None:
    engine = connected(own.url)
    publish(engine, "before")
    with busy(own), within(), pytest.raises(BrokerUnavailable, match="BUSY") as failed:
        publish(engine, "never")
    assert failed.value.certain  # type: ignore[attr-defined]
    assert drain(engine) == ["before"]


def test_a_server_that_is_busy_when_first_reached_is_waited_for(connected: Connect, own: RedisServer) -> None:
    with busy(own):
        killer = threading.Timer(0.5, lambda: own.do("SCRIPT", "KILL"))
        killer.start()
        with within():
            publish(connected(own.url))
        killer.join()


@contextmanager
def loading(server: RedisServer, seconds: float) -> Iterator[None]:
    """The server is started and reads its file for so long; it answers between a thousand keys and the next."""
    # A delay takes the server some 60 us, however short it is meant to be.
    server.do(
        "EVAL", "for n = 1, ARGV[1] do redis.call('SET', 'ballast-' .. n, n) end", 0, int(seconds / 6e-5)
    )
    server.stop()
    server._settings["key-load-delay"] = "1"
    starter = threading.Thread(target=lambda: server.start(seconds=60))
    starter.start()
    try:
        _until_it_says(server, "LOADING")
        yield
    finally:
        starter.join(60)


@pytest.mark.parametrize("known", [True, False], ids=["reached before", "reached for the first time"])
def test_loading_is_waited_for(connected: Connect, reliq_redis_server: Start, known: bool) -> None:
    server = reliq_redis_server(appendonly="always", settings={"aof-use-rdb-preamble": "no"})
    engine = connected(server.url)
    if known:
        publish(engine, "before")
    with loading(server, 1.5):
        with within():
            publish(engine, "while")
        assert drain(engine) == ["before", "while"] if known else ["while"]


def test_a_server_that_takes_long_to_load_is_unavailable_in_time(
    connected: Connect, reliq_redis_server: Start
) -> None:
    server = reliq_redis_server(appendonly="always", settings={"aof-use-rdb-preamble": "no"})
    engine = connected(server.url)
    with loading(server, 8), within(), pytest.raises(BrokerUnavailable, match=r"LOADING|loading|ready"):
        publish(engine)


def test_a_master_that_becomes_a_replica_for_a_moment_is_waited_for(
    connected: Connect, own: RedisServer
) -> None:
    engine = connected(own.url)
    publish(engine, "before")
    own.do("REPLICAOF", "127.0.0.1", 1)
    promoted = threading.Timer(0.5, lambda: own.do("REPLICAOF", "NO", "ONE"))
    promoted.start()
    with within():
        publish(engine, "while")
    promoted.join()
    assert drain(engine) == ["before", "while"]


@pytest.mark.usefixtures("hasty")
def test_a_master_that_stays_a_replica_is_unavailable_in_time(connected: Connect, own: RedisServer) -> None:
    engine = connected(own.url)
    publish(engine, "before")
    own.do("REPLICAOF", "127.0.0.1", 1)
    with within(), pytest.raises(BrokerUnavailable, match=r"READONLY|MASTERDOWN|read.only"):
        publish(engine, "never")


def _until_it_says(server: RedisServer, word: str) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            talk = Talk(server.socket)
        except OSError:
            continue
        try:
            talk.do("GET", "x")
        except Said as error:
            if str(error).startswith(word):
                return
        except OSError:
            continue
        finally:
            talk.close()
    raise AssertionError(f"the server never said {word}")
