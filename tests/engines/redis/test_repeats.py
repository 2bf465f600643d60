"""A call whose reply was lost is made again, and is answered what it was answered the first time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reliq.engines.redis.link import Call
from reliq.errors import BrokerUnavailable
from reliq.ports.values import Applied, Cancelled, Settlement, Value
from reliq.testing.servers import RedisServer
from reliq.wire.message import Add, Incr
from tests.engines.redis.conftest import Connect, publish


def lose_the_next_reply(engine: Any, *, after: int = 0) -> None:
    link = engine._server._link
    result, heard = link.result, 0

    def lost(call: Call, deadline: float) -> Any:
        nonlocal heard
        reply = result(call, deadline)
        heard += 1
        if heard <= after:
            return reply
        link.close("its reply was lost")
        raise BrokerUnavailable("its reply was lost")

    link.result = lost


def end(engine: Any, id: str, kind: Any) -> None:
    publish(engine, id, queue=id)
    engine.register(id, 60.0)
    claimed = engine.claim(id, [id], limit=1, seq=1)
    engine.settle([Settlement(claimed.deliveries[0].receipt, kind, value=b"1" if kind == "done" else None)])


CALLS: dict[str, tuple[Callable[[Any, str], Any], Any]] = {
    "put": (lambda engine, name: engine.store_put(name, b"1"), Value(b"1", 1, None, None)),
    "add": (lambda engine, name: engine.store_add(name, b"1"), True),
    "swap": (lambda engine, name: engine.store_swap(name, b"1", version=0), True),
    "incr": (lambda engine, name: engine.store_incr(name, 2), 2),
    "incr to a limit": (lambda engine, name: engine.store_incr(name, 2, limit=2), 2),
    "drop": (lambda engine, name: (engine.store_put(name, b"1"), engine.store_drop(name))[1], True),
    "apply a guard": (lambda engine, name: engine.apply([Add(name, b"1")], []), Applied(True)),
    "apply an effect": (lambda engine, name: engine.apply([], [Incr(name, 2)]), Applied(True)),
    "cancel": (lambda engine, name: engine.cancel(name), Cancelled("cancelled", "dropped")),
    "remove": (lambda engine, name: engine.remove(name), True),
    "replay": (lambda engine, name: engine.replay(name), True),
}


def ready_for(engine: Any, call: str, name: str) -> None:
    if call == "cancel":
        publish(engine, name)
    elif call in ("remove", "replay"):
        end(engine, name, "failed" if call == "replay" else "done")


@pytest.mark.parametrize("call", CALLS)
def test_the_answer_is_the_same_when_the_reply_was_lost(
    connected: Connect, server: RedisServer, call: str
) -> None:
    engine, (make, answer) = connected(server.url), CALLS[call]
    for name in ("heard", "lost"):  # the script is known to the server after the first
        ready_for(engine, call, name)
        if name == "lost":
            lose_the_next_reply(engine, after=1 if call in ("drop", "replay") else 0)  # they ask twice
        assert make(engine, name) == answer
    found = engine.store_get("lost")
    assert found is None or (found.version == 1 and found.data in (b"1", b"2"))


def test_a_lock_that_was_taken_is_ours_even_when_the_reply_was_lost(
    connected: Connect, server: RedisServer
) -> None:
    engine = connected(server.url)
    engine.store_add("warm", b"")
    lose_the_next_reply(engine)
    assert engine.store_add("lock", b"ours") is True
    assert engine.store_add("lock", b"theirs") is False


def test_what_was_said_is_not_kept_for_ever(connected: Connect, server: RedisServer) -> None:
    engine = connected(server.url)
    engine.store_add("key", b"")
    (said,) = server.do("KEYS", "{reliq:shop}:said:*")
    assert 0 < server.do("PTTL", said) <= 10_000
    engine.store_get("key")
    engine.store_add("key", b"")  # what was not done need not be said again
    assert server.do("KEYS", "{reliq:shop}:said:*") == [said]


def test_each_batch_that_an_owner_was_given_counts_once(engine: Any) -> None:
    """Whoever knows of fewer has missed one: a claim that is made again and one that brings nothing do not count."""
    engine.register("owner", 60.0)
    for n in range(4):
        publish(engine, f"m-{n}")
    counted = []
    for seq, limit in ((1, 1), (1, 1), (2, 2), (2, 2), (3, 1), (4, 1), (5, 0)):
        engine.claim("owner", ["q"], limit=limit, seq=seq)
        counted.append(engine._claims._batches["owner"])
    assert counted == [1, 1, 2, 2, 3, 3, 3]
