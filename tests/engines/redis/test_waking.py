"""Who idles is told of work that somebody else leaves, and of nothing else."""

from __future__ import annotations

import pytest

from reliq.engines.redis.claims import Asked
from reliq.engines.redis.engine import RedisEngine
from reliq.policy.clock import VirtualClock
from reliq.ports.values import Settlement
from reliq.testing.servers import RedisServer
from tests.engines.redis.conftest import publication, publish
from tests.engines.redis.ear import listening


@pytest.fixture
def engine(engine: RedisEngine) -> RedisEngine:
    for owner in ("idle", "busy"):
        engine.register(owner, 3600)
    return engine


def idle(engine: RedisEngine) -> None:
    """What a claim leaves behind that finds nothing."""
    engine._claims._ask(Asked("idle", ["q"], 1, 1), "here 1 idle")


@pytest.mark.parametrize(("due", "heard"), [(1, 0), (2, 0), (3, 1), (5, 1)])
def test_what_was_due_wakes_others_only_where_the_claim_leaves_some_of_it(
    engine: RedisEngine, server: RedisServer, clock: VirtualClock, due: int, heard: int
) -> None:
    for n in range(due):
        publish(engine, f"m-{n}", delay=60_000)
    idle(engine)
    clock.advance(60)
    with listening(server, "here") as ear:
        assert len(engine.claim("busy", ["q"], limit=2, seq=1).deliveries) == min(due, 2)
        assert len(ear.heard()) == heard


def test_what_is_due_soon_wakes_another_though_the_claim_takes_what_was_due(
    engine: RedisEngine, server: RedisServer, clock: VirtualClock
) -> None:
    publish(engine, "due", delay=60_000)
    publish(engine, "late")
    (late,) = engine.claim("busy", ["q"], limit=1, seq=1).deliveries
    idle(engine)
    clock.advance(60)
    with listening(server, "here") as ear:
        retry = Settlement(late.receipt, "retry", after=500)
        (due,) = engine.claim("busy", ["q"], limit=1, seq=2, settlements=[retry]).deliveries
        assert (due.receipt.id, len(ear.heard())) == ("due", 1)


@pytest.mark.parametrize("delays", [(500, 900), (900, 500), (500, 60_000)])
def test_of_what_is_due_soon_the_first_counts(
    engine: RedisEngine, server: RedisServer, delays: tuple[int, int]
) -> None:
    """It wakes who idles, and what is due later in the same call does not hide it."""
    idle(engine)
    with listening(server, "here") as ear:
        engine.publish([publication(delay=delay) for delay in delays])
        assert len(ear.heard()) == 1


def test_what_is_due_later_than_what_waits_wakes_nobody(engine: RedisEngine, server: RedisServer) -> None:
    publish(engine, delay=500)
    idle(engine)
    with listening(server, "here") as ear:
        engine.publish([publication(delay=delay) for delay in (900, 60_000)])
        assert ear.heard() == []


@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize(("limit", "heard"), [(2, 1), (4, 0)])
def test_a_claim_that_leaves_work_wakes_another(
    engine: RedisEngine, server: RedisServer, clock: VirtualClock, long: bool, limit: int, heard: int
) -> None:
    """`long`: something else has to be looked at besides."""
    for n in range(4):
        publish(engine, f"m-{n}")
    if long:
        publish(engine, "expired", queue="other", expires_in=1_000)
        clock.advance(2)
    server.do("SADD", "{reliq:shop}:idle:q", "here 9 idle")
    with listening(server, "here") as ear:
        assert len(engine.claim("busy", ["q"], limit=limit, seq=1).deliveries) == limit
        assert len(ear.heard()) == heard
