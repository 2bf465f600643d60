"""Whether somebody changed a record of another message: told with the claim, so that a run need not ask."""

from __future__ import annotations

import pytest

from reliq.ports import Add, Effect, Put, Remove, Touch
from reliq.ports.broker import Engine
from reliq.ports.values import Delivery, Publication, Settlement
from reliq.testing import VirtualClock
from reliq.wire.message import Ending, Envelope

KEY = "record"


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def engine(connected, server, clock) -> Engine:
    engine = connected(server.url, clock=clock)
    engine.register("owner", 3600)
    return engine


def publish(
    engine: Engine, *, id: str = "a", guard: Add | None = None, on_end: tuple[Ending, ...] = ()
) -> None:
    envelope = Envelope(v=1, id=id, task="t", queue="q", on_end=on_end)
    (answer,) = engine.publish([Publication(envelope, (guard or Add(KEY, b"", holder=id),))])
    assert answer.status == "accepted"


def claim(engine: Engine, seq: int = 1) -> dict[str, Delivery]:
    return {d.receipt.id: d for d in engine.claim("owner", ["q"], limit=10, seq=seq).deliveries}


def settle(engine: Engine, delivery: Delivery, kind: str = "done", effects: tuple[Effect, ...] = ()) -> None:
    (answer,) = engine.settle([Settlement(delivery.receipt, kind, effects=effects)])
    assert answer.status == "applied"


def test_what_nobody_touched_is_undisturbed(engine):
    publish(engine)
    engine.store_put("another", b"")
    engine.store_get(KEY)
    assert not engine.store_add(KEY, b"")
    assert claim(engine)["a"].undisturbed


@pytest.mark.parametrize(
    "own", [Put(KEY, b"", holder="a"), Touch(KEY, holder="a"), Remove(KEY, holder="a")], ids=repr
)
def test_the_holder_s_own_effects_disturb_nothing(engine, own):
    publish(engine)
    engine.apply((), (own,))
    assert claim(engine)["a"].undisturbed


@pytest.mark.parametrize("of_others", [Put(KEY, b""), Touch(KEY), Remove(KEY)], ids=repr)
def test_effects_of_others_disturb_the_holder_alone(engine, of_others):
    publish(engine)
    publish(engine, id="b", guard=Add("another", holder="b"))
    engine.apply((), (of_others,))
    found = claim(engine)
    assert (found["a"].undisturbed, found["b"].undisturbed) == (False, True)


@pytest.mark.parametrize(
    "call",
    [
        lambda engine: engine.store_drop(KEY),
        lambda engine: engine.store_put(KEY, b"", holder="a"),
        lambda engine: engine.store_touch(KEY, ttl=60),
        lambda engine: engine.store_swap(KEY, b"x", version=1),
    ],
    ids=["drop", "put", "touch", "swap"],
)
def test_whoever_writes_to_the_store_disturbs_the_holder(engine, call):
    publish(engine)
    call(engine)
    assert not claim(engine)["a"].undisturbed


def test_a_guard_that_takes_a_record_over_disturbs_who_had_it(engine):
    publish(engine)
    first = claim(engine)["a"]
    publish(engine, id="b", guard=Add(KEY, holder="b", replaces="newer", or_leased=True))
    settle(engine, first, "retry")
    found = claim(engine, 2)
    assert (found["a"].undisturbed, found["b"].undisturbed) == (False, True)


def test_what_was_disturbed_stays_so_over_its_runs(engine):
    publish(engine)
    engine.store_drop(KEY)
    settle(engine, claim(engine)["a"], "snooze")
    assert not claim(engine, 2)["a"].undisturbed


def test_a_record_that_outlives_its_message_disturbs_nobody_and_leaves_nothing(engine, server, clock):
    publish(engine)
    settle(engine, claim(engine)["a"])
    engine.store_drop(KEY)
    assert server.do("EXISTS", "{reliq:shop}:disturbed") == 0


def test_with_its_message_the_note_goes(engine, server):
    publish(engine)
    engine.store_drop(KEY)
    settle(engine, claim(engine)["a"])
    assert server.do("EXISTS", "{reliq:shop}:disturbed") == 1
    engine.remove("a")
    assert server.do("EXISTS", "{reliq:shop}:disturbed") == 0
