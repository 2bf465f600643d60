"""What a script checks though the engine has looked before: in between another may have been first."""

from __future__ import annotations

import pytest

from reliq.engines.redis.engine import RedisEngine
from reliq.ports.values import Settlement
from reliq.testing.servers import RedisServer
from tests.engines.redis.conftest import Connect, publish


@pytest.fixture
def engine(connected: Connect, server: RedisServer) -> RedisEngine:
    engine = connected(server.url)
    assert isinstance(engine, RedisEngine)
    return engine


def test_only_what_has_failed_is_replayed(engine: RedisEngine) -> None:
    publish(engine, "m")
    before = engine.get("m")
    for id in (b"m", b"never"):
        assert engine._server.run("replay", id, b"", b"", b"a call") == 0
    assert (engine.get("m"), engine.get("never")) == (before, None)
    engine.register("owner", 30)
    (delivery,) = engine.claim("owner", ["q"], limit=1, seq=1).deliveries
    engine.settle([Settlement(delivery.receipt, "failed")])
    assert [engine._server.run("replay", b"m", b"", b"", call) for call in (b"one", b"two")] == [1, 0]
    assert engine.audit().balanced
