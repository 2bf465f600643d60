"""Bytes that this version cannot read: quarantined as they are, with their version named (rule 11)."""

from __future__ import annotations

import pytest
from msgspec.msgpack import encode

from reliq import Reliq
from reliq.policy.clock import VirtualClock
from reliq.testing import Harness
from reliq.testing.servers import RedisServer
from tests.engines.redis.conftest import Connect

PLACE = "{reliq:shop}:payload"


@pytest.fixture
def app() -> Reliq:
    app = Reliq("shop", broker="memory://")

    @app.task(name="work")
    def work() -> None: ...

    return app


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        pytest.param(encode([99, "id", "work", "default", b"new"]), "version 99", id="an unknown version"),
        pytest.param(b"\xc1\xff\x00garbage", "", id="garbage"),
        pytest.param(b"", "", id="nothing"),
    ],
)
def test_what_cannot_be_decoded_is_quarantined_raw_and_named(
    connected: Connect, server: RedisServer, app: Reliq, payload: bytes, words: str
) -> None:
    clock = VirtualClock()
    engine = connected(server.url, clock=clock)
    with Harness(app, engine=engine, clock=clock) as harness:
        handle = app.send_task("work")
        sound = app.send_task("work")
        assert server.do("HEXISTS", PLACE, handle.id) == 1
        server.do("HSET", PLACE, handle.id, payload)
        harness.run_until_idle()
        record = engine.get(handle.id)
        assert record is not None
        assert record.state == "failed"
        assert record.payload == payload
        assert words in (record.reason or "") + (record.error or b"").decode(errors="replace")
        assert engine.get(sound.id).state == "done"  # type: ignore[union-attr]
        assert engine.audit().balanced
