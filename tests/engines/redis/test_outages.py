"""Connections that are lost, cut, or say nothing: every call ends in time, and the next one works again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from reliq.errors import BrokerUnavailable
from reliq.policy.clock import VirtualClock
from reliq.ports.broker import Engine
from reliq.ports.values import Settlement
from reliq.testing.faults.proxy import Proxy, Weather
from reliq.testing.servers import RedisServer, process
from tests.engines.redis.conftest import DEADLINE, Connect, drain, publication, publish, within

Start = Callable[..., RedisServer]
SEED = 20261121


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    with Proxy(server.address, seed=SEED) as proxy:
        yield proxy


@pytest.fixture
def engine(connected: Connect, server: RedisServer, proxy: Proxy) -> Engine:
    """Reached through the proxy."""
    return connected(server.url_for(address=proxy.address))


@contextmanager
def passing(proxy: Proxy, weather: Weather, seconds: float) -> Iterator[None]:
    """This weather for so long; it is over when the body is left."""
    proxy.weather = weather
    calm = threading.Timer(seconds, lambda: setattr(proxy, "weather", Weather()))
    calm.start()
    try:
        yield
    finally:
        calm.join()


# --- the server dies and comes back ---


@pytest.mark.usefixtures("hasty")
def test_after_a_kill_of_the_server_the_same_engine_goes_on(connected: Connect, own: RedisServer) -> None:
    engine = connected(own.url)
    before = publish(engine)
    own.kill()
    with within(), pytest.raises(BrokerUnavailable, match=str(own.address[1])):
        publish(engine)
    own.start()
    with within(1):
        after = publish(engine)
    assert drain(engine) == [before, after]


def test_a_call_that_waits_while_the_server_is_killed_and_started_ends(
    connected: Connect, own: RedisServer
) -> None:
    engine = connected(own.url)
    engine.register("owner", 60)
    ended = threading.Event()

    def claim() -> None:
        with suppress(BrokerUnavailable):
            engine.claim("owner", ["q"], limit=1, seq=1, wait=1.0)
        ended.set()

    threading.Thread(target=claim, daemon=True).start()
    own.kill()
    own.start()
    assert ended.wait(DEADLINE)
    id = publish(engine)
    assert [d.receipt.id for d in engine.claim("owner", ["q"], limit=1, seq=2).deliveries] == [id]


def test_a_lease_outlives_the_server(connected: Connect, own: RedisServer) -> None:
    engine = connected(own.url)
    publish(engine)
    engine.register("owner", 60)
    (delivery,) = engine.claim("owner", ["q"], limit=1, seq=1).deliveries
    own.kill()
    own.start()
    assert engine.held("owner") == [delivery.receipt]
    assert [s.status for s in engine.settle([Settlement(delivery.receipt, "done")])] == ["applied"]


def test_a_server_that_came_back_without_its_scripts_is_told_them_again(
    connected: Connect, server: RedisServer
) -> None:
    engine = connected(server.url)
    publish(engine)
    server.do("SCRIPT", "FLUSH")
    publish(engine)
    assert len(drain(engine)) == 2


# --- connections are ended ---


def test_connections_killed_by_an_operator_are_opened_again(connected: Connect, server: RedisServer) -> None:
    engine = connected(server.url)
    for _ in range(5):
        publish(engine)
        server.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert len(drain(engine)) == 5


def test_a_blocked_claim_survives_the_kill_of_its_connection(connected: Connect, server: RedisServer) -> None:
    engine, other = connected(server.url), connected(server.url)
    engine.register("owner", 60)
    claimed: list[str] = []

    def claim() -> None:
        for seq in range(1, 6):
            claimed.extend(
                d.receipt.id for d in engine.claim("owner", ["q"], limit=1, seq=seq, wait=1.0).deliveries
            )
            if claimed:
                return

    thread = threading.Thread(target=claim, daemon=True)
    thread.start()
    process.until(
        lambda: bool(server.do("SMEMBERS", "{reliq:shop}:idle:q")),
        seconds=10,
        what=lambda: "the claim does not block",
    )
    for type in ("normal", "pubsub"):
        server.do("CLIENT", "KILL", "TYPE", type, "SKIPME", "yes")
    id = publish(other)
    thread.join(DEADLINE)
    assert claimed == [id]


def test_resets_lose_nothing(engine: Engine, proxy: Proxy) -> None:
    ids = []
    for _ in range(20):
        ids.append(publish(engine))
        proxy.reset()
    assert drain(engine) == ids


@pytest.mark.parametrize("hold", [0.0, 0.3], ids=["at once", "after a while"])
def test_a_publish_whose_reply_was_lost_is_accepted_once(
    engine: Engine, proxy: Proxy, connected: Connect, server: RedisServer, hold: float
) -> None:
    publish(engine, "first")
    certain = False
    with passing(proxy, Weather(hold_reply=hold), 1.0), within():
        try:
            (answer,) = engine.publish([publication("second")])
            assert answer.status in ("accepted", "duplicate")
        except BrokerUnavailable as error:
            certain = getattr(error, "certain", False)
    # The server has acted: whoever takes a certain failure for a refusal would say that it was not accepted.
    assert not certain
    assert drain(connected(server.url)) == ["first", "second"]


def test_a_settlement_whose_reply_was_lost_is_not_made_twice(
    engine: Engine, proxy: Proxy, connected: Connect, server: RedisServer
) -> None:
    publish(engine, queue="before")
    drain(engine, queue="before")  # the server knows all scripts
    id = publish(engine)
    engine.register("owner", 60)
    (delivery,) = engine.claim("owner", ["q"], limit=1, seq=1).deliveries
    settlement = Settlement(delivery.receipt, "retry", after=0)
    engine.settle([])
    with passing(proxy, Weather(hold_reply=0.1), 0.5), within(), suppress(BrokerUnavailable):
        engine.settle([settlement])
    (settled,) = engine.settle([settlement])
    assert settled.status == "repeated"
    record = connected(server.url).get(id)
    assert record is not None
    assert record.retries == 1


@pytest.mark.parametrize("cut", [1, 7, 40])
@pytest.mark.usefixtures("hasty")
def test_half_a_reply_is_none(
    engine: Engine, proxy: Proxy, connected: Connect, server: RedisServer, cut: int
) -> None:
    publish(engine, "first")
    proxy.weather = Weather(cut_down=cut)
    with within(), suppress(BrokerUnavailable):
        publish(engine, "second")
    proxy.weather = Weather()
    with within():
        assert engine.publish([publication("second")])[0].status in ("accepted", "duplicate")
    assert drain(connected(server.url)) == ["first", "second"]


# --- half-open: the sockets stand and nobody answers ---


CALLS: dict[str, Callable[[Engine], object]] = {
    "publish": lambda engine: engine.publish([publication()]),
    "claim": lambda engine: engine.claim("owner", ["q"], limit=1, seq=99),
    "a claim that blocks": lambda engine: engine.claim("owner", ["q"], limit=1, seq=99, wait=1.0),
    "wait": lambda engine: engine.wait("m", 2.0),
    "renew": lambda engine: engine.renew("owner", 60),
    "get": lambda engine: engine.get("m"),
}


@pytest.mark.parametrize("call", list(CALLS))
@pytest.mark.usefixtures("hasty")
def test_a_black_hole_is_noticed_in_time(engine: Engine, proxy: Proxy, call: str) -> None:
    publish(engine, "m", queue="other")
    engine.register("owner", 600)
    proxy.weather = Weather(black_hole=True)
    with within(3), pytest.raises(BrokerUnavailable):
        CALLS[call](engine)
    proxy.weather = Weather()
    with within():
        publish(engine)


def test_a_black_hole_is_noticed_within_five_and_a_half_seconds(engine: Engine, proxy: Proxy) -> None:
    publish(engine, "m")
    proxy.weather = Weather(black_hole=True)
    with within(), pytest.raises(BrokerUnavailable) as failed:
        publish(engine)
    assert not failed.value.certain  # type: ignore[attr-defined]


@pytest.mark.usefixtures("hasty")
def test_a_server_that_is_paused_is_noticed_and_used_again(
    connected: Connect, reliq_redis_server: Start
) -> None:
    server = reliq_redis_server()
    engine = connected(server.url)
    publish(engine, "before")
    server.pause()
    with within(), pytest.raises(BrokerUnavailable):
        engine.get("before")
    server.resume()
    with within():
        publish(engine, "after")
    assert drain(engine) == ["before", "after"]


@pytest.mark.usefixtures("hasty")
def test_threads_do_not_add_up_their_patience(engine: Engine, proxy: Proxy) -> None:
    publish(engine, "m")
    proxy.weather = Weather(black_hole=True)
    took: list[float] = []

    def look() -> None:
        begun = time.monotonic()
        with pytest.raises(BrokerUnavailable):
            engine.get("m")
        took.append(time.monotonic() - begun)

    threads = [threading.Thread(target=look) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(took) == 5
    assert max(took) <= DEADLINE


def test_closing_does_not_wait_for_a_black_hole(engine: Engine, proxy: Proxy) -> None:
    publish(engine, "m")
    proxy.weather = Weather(black_hole=True)
    caller = threading.Thread(target=lambda: _ignoring(lambda: engine.get("m")), daemon=True)
    caller.start()
    with within(1):
        engine.close()
    caller.join(DEADLINE)
    assert not caller.is_alive()


def test_one_byte_at_a_time_is_slow_and_right(engine: Engine, proxy: Proxy) -> None:
    proxy.weather = Weather(piece=1)
    ids = [publish(engine, f"ä-{n}", body=b"[[1],{}]") for n in range(3)]
    assert drain(engine) == ids


def _ignoring(call: Callable[[], object]) -> None:
    try:
        call()
    except BrokerUnavailable:
        return


def test_a_sweep_that_was_held_up_on_its_way_buries_nobody(
    connected: Connect, reliq_redis: RedisServer
) -> None:
    """The renewals of others were held up with it, and come after it."""
    reliq_redis.flush()
    clock = VirtualClock()
    engine = connected(reliq_redis.url, app="held-up", clock=clock)
    server = engine._server  # type: ignore[attr-defined]
    engine.register("owner", 1.0)
    clock.advance(10.0)
    before = server.now
    server.now = lambda: before() - 501
    assert engine.reap().owners == ()
    server.now = lambda: before() - 500
    assert engine.reap().owners == ("owner",)


# --- replicas that are waited for ---


def test_replicas_are_asked_by_the_connection_that_has_written(
    connected: Connect, own: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own.replica():
        engine: Any = connected(own.url + "?wait_replicas=1&wait_timeout=5")
        publish(engine)
        run = engine._server.run

        def run_and_lose(*given: Any) -> Any:
            answer = run(*given)
            engine._server.link(time.monotonic() + 1).close("cut by the test")
            return answer

        monkeypatch.setattr(engine._server, "run", run_and_lose)
        # A new connection has written nothing: all replicas have that.
        with within(), pytest.raises(BrokerUnavailable, match="cut by the test") as failed:
            engine.publish([publication("again")])
        assert not failed.value.certain
        monkeypatch.undo()
        (answer,) = engine.publish([publication("again")])
        assert answer.status == "duplicate"


# --- a server that may have forgotten ---


def test_the_next_claim_of_each_owner_says_that_the_server_was_reached_anew(
    connected: Connect, own: RedisServer
) -> None:
    engine = connected(own.url)
    for owner in ("one", "two"):
        engine.register(owner, 60)
        assert [engine.claim(owner, ["q"], limit=1, seq=n).anew for n in (1, 2)] == [False, False]
    own.kill()
    own.start()
    publish(engine)  # whoever notices first
    for owner in ("one", "two"):
        assert [engine.claim(owner, ["q"], limit=1, seq=n).anew for n in (3, 4)] == [True, False]


def test_a_claim_that_waits_says_so_too(connected: Connect, own: RedisServer) -> None:
    engine = connected(own.url)
    engine.register("owner", 60)
    assert not engine.claim("owner", ["q"], limit=1, seq=1, wait=0.1).anew
    own.kill()
    own.start()
    assert engine.claim("owner", ["q"], limit=1, seq=2, wait=0.1).anew
