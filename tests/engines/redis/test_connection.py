"""One connection for all threads: nobody gets another's reply, whoever is interrupted, and nothing is left behind."""

from __future__ import annotations

import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reliq.engines.redis.server import Opening
from reliq.errors import BrokerRefused, BrokerUnavailable
from reliq.ports.broker import Engine
from reliq.testing.faults.proxy import Proxy, Weather
from reliq.testing.servers import RedisServer
from reliq.testing.servers.process import until
from tests.engines.redis.conftest import Connect, drain, publish, within

SEED = 20261122


def ask_for_own(engine: Engine, ids: list[str], *, rounds: int, wrong: list[str]) -> None:
    """Look at one's own records again and again; an outage is no wrong answer."""
    for n in range(rounds):
        id = ids[n % len(ids)]
        try:
            record = engine.get(id)
        except BrokerUnavailable:
            continue
        if record is None or record.id != id:
            wrong.append(f"{id}: {record}")


def run_beside(works: list[Callable[[], None]], meanwhile: Callable[[], None] = lambda: None) -> None:
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    meanwhile()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_threads_get_their_own_replies(connected: Connect, server: RedisServer) -> None:
    engine, wrong = connected(server.url), list[str]()
    ids = [[publish(engine, f"{t}-{n}") for n in range(10)] for t in range(8)]
    with within(60):
        run_beside([lambda own=own: ask_for_own(engine, own, rounds=200, wrong=wrong) for own in ids])  # type: ignore[misc]
    assert wrong == []
    assert int(server.info("clients")["connected_clients"]) <= 2  # ours, and the one that asks


def test_threads_get_their_own_replies_while_connections_are_reset_and_replies_come_in_pieces(
    connected: Connect, server: RedisServer
) -> None:
    with Proxy(server.address, seed=SEED, weather=Weather(piece=5)) as proxy:
        engine, wrong = connected(server.url_for(address=proxy.address)), list[str]()
        ids = [[publish(engine, f"{t}-{n}") for n in range(10)] for t in range(6)]

        def reset_now_and_then() -> None:
            for _ in range(20):
                time.sleep(0.02)  # so that some calls get through in between
                proxy.reset()

        run_beside(
            [lambda own=own: ask_for_own(engine, own, rounds=60, wrong=wrong) for own in ids],  # type: ignore[misc]
            reset_now_and_then,
        )
    assert wrong == []


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # one strikes in a __del__
def test_a_call_that_is_interrupted_leaves_nobody_a_wrong_reply(
    connected: Connect, server: RedisServer
) -> None:
    class Interrupted(BaseException):
        """As a time limit raises it, anywhere."""

    def interrupt(*_: object) -> None:
        raise Interrupted

    engine, wrong, dice = connected(server.url), list[str](), random.Random(SEED)
    mine = [publish(engine, f"mine-{n}") for n in range(10)]
    others = [publish(engine, f"other-{n}") for n in range(10)]
    before = signal.signal(signal.SIGALRM, interrupt)
    interrupted = 0

    def be_interrupted() -> None:
        nonlocal interrupted
        for n in range(150):
            try:
                signal.setitimer(signal.ITIMER_REAL, dice.uniform(1e-5, 1.5e-3))
                for m in range(20):
                    record = engine.get(mine[(n + m) % 10])
                    if record is None or record.id != mine[(n + m) % 10]:
                        wrong.append(str(record))
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Interrupted:
                interrupted += 1

    try:
        with within(20):
            run_beside([lambda: ask_for_own(engine, others, rounds=300, wrong=wrong)], be_interrupted)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interrupted > 10
    assert wrong == []
    assert sorted(drain(engine)) == sorted([*mine, *others])


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_a_signal_handler_may_call_while_its_thread_is_in_a_call(
    connected: Connect, server: RedisServer
) -> None:
    engine, published, failed = connected(server.url), list[str](), list[Exception]()
    mine = publish(engine, "mine")

    def publish_one(*_: object) -> None:
        try:
            published.append(publish(engine))
        except Exception as error:
            failed.append(error)
        signal.setitimer(signal.ITIMER_REAL, 0.002)

    before = signal.signal(signal.SIGALRM, publish_one)
    try:
        with within(20):
            signal.setitimer(signal.ITIMER_REAL, 0.002)
            while len(published) + len(failed) < 50:
                engine.wait(mine, 0.01)
                published.append(publish(engine, body=b"x" * 200_000))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert failed == []
    assert sorted(drain(engine)) == sorted([mine, *published])


def test_who_waits_for_long_gathers_nothing(
    connected: Connect, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reliq.engines.redis.engine.MAX_WAIT", 0.001)
    engine: Any = connected(server.url)
    engine.wait(publish(engine), 0.1)
    assert engine._server._link._listening == set()


def test_a_channel_that_is_refused_leaves_nobody_a_wrong_reply(
    connected: Connect, reliq_redis_server: Callable[..., RedisServer]
) -> None:
    own = reliq_redis_server(users={"shop": "on >secret resetchannels ~{reliq:shop}:* +@all -@dangerous"})
    engine, wrong = connected(own.url_for(user="shop", password="secret")), list[str]()
    ids = [[publish(engine, f"{t}-{n}") for n in range(5)] for t in range(4)]

    def wait_in_vain() -> None:
        for _ in range(20):
            with pytest.raises(BrokerRefused, match="channel"):
                engine.wait(ids[0][0], 1.0)

    with within(20):
        works = [lambda own=own: ask_for_own(engine, own, rounds=100, wrong=wrong) for own in ids]  # type: ignore[misc]
        run_beside([*works, wait_in_vain])
    assert wrong == []


def test_a_wake_does_not_end_a_connection_on_which_others_send(
    connected: Connect, server: RedisServer
) -> None:
    engine: Any = connected(server.url)
    engine.register("owner", 60.0)
    engine.claim("owner", ["q"], limit=1, seq=1, wait=0.001)
    link = engine._server._link
    waits = threading.Thread(target=lambda: link.wait(link.listen(), time.monotonic() + 10.0))
    waits.start()
    until(lambda: link._leader is not None, seconds=5, what=lambda: "nobody reads")
    with link._sending:
        nudge = threading.Thread(target=link.nudge)
        nudge.start()
        nudge.join(5.0)
        assert not nudge.is_alive()
    assert link.broken is None
    publish(engine)  # whoever sent is answered, and that wakes the one who reads
    waits.join(5.0)
    assert not waits.is_alive()


def test_whoever_opens_a_connection_and_dies_does_not_keep_others_from_it(
    connected: Connect, server: RedisServer
) -> None:
    engine: Any = connected(server.url)
    publish(engine)
    engine._server._link.close("lost")
    engine._server._opening = Opening(lambda: pytest.fail("it never began"), time.monotonic() - 0.001)
    with within(2):
        publish(engine)


@pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="another system has other names")
def test_an_idle_connection_that_was_lost_is_found_out(connected: Connect, server: RedisServer) -> None:
    engine: Any = connected(server.url)
    publish(engine)
    sock = engine._server._link._sock
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    numbers = [getattr(socket, f"TCP_KEEP{name}") for name in ("IDLE", "INTVL", "CNT")]
    idle, pause, times = (sock.getsockopt(socket.IPPROTO_TCP, number) for number in numbers)
    assert idle + pause * times <= 30


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are counted in /proc")
def test_lost_connections_leave_no_descriptors(connected: Connect, server: RedisServer) -> None:
    engine = connected(server.url)
    id = publish(engine)
    engine.wait(id, 0.01)
    open_before = len(os.listdir("/proc/self/fd"))
    for _ in range(30):
        server.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        server.do("CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "yes")
        engine.wait(id, 0.001)
    assert len(os.listdir("/proc/self/fd")) <= open_before + 1


def test_a_closed_engine_leaves_no_connection(connected: Connect, server: RedisServer) -> None:
    engines = [connected(server.url) for _ in range(5)]
    for n, engine in enumerate(engines):
        publish(engine, f"m-{n}")
        engine.wait(f"m-{n}", 0.001)
        engine.close()
    until(
        lambda: server.info("clients")["connected_clients"] == "1",  # the one that asks
        seconds=5,
        what=lambda: str(server.do("CLIENT", "LIST")),
    )
