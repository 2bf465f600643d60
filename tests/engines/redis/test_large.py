"""More in one call than one script may take: Lua's stack has room for some thousands of arguments."""

from __future__ import annotations

from typing import Any

import pytest

from reliq.plugins import open_engine
from reliq.policy.ids import new_id
from reliq.ports.values import Publication, Settlement
from reliq.testing.servers import RedisServer
from reliq.wire.message import Envelope

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
