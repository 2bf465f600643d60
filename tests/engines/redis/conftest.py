"""Engines on servers of their own, and how long a call may take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from reliq.engines.redis.engine import RedisEngine
from reliq.policy.clock import Clock, VirtualClock
from reliq.policy.ids import new_id
from reliq.ports.broker import Engine
from reliq.ports.values import Publication, Settlement
from reliq.testing.servers import RedisServer
from reliq.wire.message import WIRE_VERSION, Envelope

DEADLINE = 5.5  # seconds: what a call may take at most, whatever the server does

Connect = Callable[..., Engine]


@pytest.fixture
def connected() -> Iterator[Connect]:
    """`connected(url)`: an engine that is closed after the test."""
    from reliq.engines.redis import connect

    engines: list[Engine] = []

    def open(url: str, *, app: str = "shop", clock: Clock | None = None) -> Engine:
        engines.append(connect(url, app=app, clock=clock))
        return engines[-1]

    yield open
    for engine in engines:
        engine.close()


@pytest.fixture
def server(reliq_redis: RedisServer) -> RedisServer:
    """An empty one; it serves other tests after this one."""
    reliq_redis.flush()
    return reliq_redis


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def engine(connected: Connect, server: RedisServer, clock: VirtualClock) -> RedisEngine:
    """One whose time stands still, unless a module has another."""
    engine = connected(server.url, clock=clock)
    assert isinstance(engine, RedisEngine)
    return engine


@pytest.fixture
def own(reliq_redis_server: Callable[..., RedisServer]) -> RedisServer:
    """One to kill."""
    return reliq_redis_server(appendonly="always")


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes five seconds at most takes one here."""
    for module in ("endpoint", "server", "promise"):
        monkeypatch.setattr(f"reliq.engines.redis.{module}.TIMEOUT", 1.0)


@contextmanager
def within(seconds: float = DEADLINE) -> Iterator[None]:
    """What is done here is over in time, whether it succeeds or fails."""
    begun = time.monotonic()
    try:
        yield
    finally:
        took = time.monotonic() - begun
        assert took <= seconds, f"took {took:.1f} s"


def publish(engine: Engine, id: str | None = None, **fields: Any) -> str:
    """Publish what must be accepted; its id."""
    (answer,) = engine.publish([publication(id, **fields)])
    assert answer.status == "accepted", answer
    return answer.id


def publication(id: str | None = None, *, queue: str = "q", **fields: Any) -> Publication:
    return Publication(Envelope(v=WIRE_VERSION, id=id or new_id(), task="task", queue=queue, **fields))


def drain(engine: Engine, owner: str = "drain", *, queue: str = "q") -> list[str]:
    """Claim and settle until nothing is ready; the ids in their order."""
    engine.register(owner, 60.0)
    ids: list[str] = []
    settlements: list[Settlement] = []
    seq = int(time.time() * 1000)
    while True:
        seq += 1
        claimed = engine.claim(owner, [queue], limit=100, seq=seq, settlements=settlements)
        assert {s.status for s in claimed.settled} <= {"applied"}
        ids += [d.receipt.id for d in claimed.deliveries]
        settlements = [Settlement(d.receipt, "done") for d in claimed.deliveries]
        if not settlements:
            return ids
