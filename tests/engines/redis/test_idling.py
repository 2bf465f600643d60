"""Claims that wait: where they stand, which of them is woken or handed a message, and what becomes of a lost wake."""

from __future__ import annotations

import pytest

from reliq.engines.redis import pack
from reliq.engines.redis.engine import RedisEngine
from reliq.policy.clock import VirtualClock
from reliq.ports.values import Receipt, Settlement
from reliq.testing.servers import RedisServer
from tests.engines.redis.conftest import publication, publish
from tests.engines.redis.ear import Ear, listening

IDLE = "{reliq:shop}:idle:q"


def claim(
    engine: RedisEngine, owner: str, *, seq: int = 1, limit: int = 1, enter: str = "", leave: str = ""
) -> None:
    """What `engine.claim` sends: `enter` is to stand among those that idle when there is nothing."""
    engine._server.run(
        "claim", *(str(word).encode() for word in (owner, seq, limit, enter, leave)), pack.pack(["q"]), b""
    )


def idle(engine: RedisEngine, owner: str, *, seq: int = 1) -> str:
    """A new owner whose claim waits, told by the channel of its own name; its entry."""
    engine.register(owner, 30)
    entry = f"{owner} {seq} {owner}"
    claim(engine, owner, seq=seq, enter=entry)
    return entry


def leased(engine: RedisEngine, *ids: str, **fields: int) -> list[Receipt]:
    """Messages that an owner of their own holds."""
    for id in ids:
        publish(engine, id, **fields)
    engine.register("busy", 30)
    return [d.receipt for d in engine.claim("busy", ["q"], limit=len(ids), seq=1).deliveries]


def woken(ear: Ear) -> list[str]:
    """The channels on which somebody was woken, and none was handed anything."""
    said = ear.heard()
    assert {text for _, text in said} <= {""}
    return [channel for channel, _ in said]


def state(engine: RedisEngine, id: str) -> str:
    record = engine.get(id)
    assert record is not None
    return record.state


# --- standing there ---


def test_a_claim_with_nothing_to_deliver_stands_among_those_that_idle_until_it_leaves(
    engine: RedisEngine, server: RedisServer
) -> None:
    entry = idle(engine, "one")
    assert server.do("SMEMBERS", IDLE) == [entry]
    claim(engine, "one", leave=entry, limit=0)
    assert server.do("EXISTS", IDLE) == 0


def test_who_has_work_who_cannot_be_told_and_who_works_alone_do_not_idle(
    engine: RedisEngine, server: RedisServer, clock: VirtualClock
) -> None:
    engine.register("one", 30)
    claim(engine, "one")
    assert server.do("EXISTS", IDLE) == 0
    (receipt,) = leased(engine, "m")
    engine.bury("busy", started=[receipt])
    clock.advance(1)
    for seq in (2, 3):  # the first leases the charged message
        claim(engine, "one", seq=seq, enter=f"one {seq} one")
        assert server.do("EXISTS", IDLE) == 0
    assert state(engine, "m") == "leased"


# --- being woken ---


def test_each_message_wakes_one(engine: RedisEngine, server: RedisServer) -> None:
    for owner in ("a", "b", "c"):
        idle(engine, owner)
    with listening(server, "a", "b", "c") as ear:
        engine.publish([publication(), publication()])
        assert len(woken(ear)) == 2
        publish(engine, expires_in=1_000)
        assert len(woken(ear)) == 1
        publish(engine, expires_in=1_000)
        assert woken(ear) == []


def test_claims_that_were_answered_and_owners_that_are_gone_are_passed_over(
    engine: RedisEngine, server: RedisServer
) -> None:
    leased(engine, "m")
    server.do("SADD", IDLE, "answered 1 busy", "gone 1 nobody")
    with listening(server, "answered", "gone") as ear:
        publish(engine, expires_in=1_000)
        assert woken(ear) == []
    assert server.do("EXISTS", IDLE) == 0


def test_what_is_ready_or_soon_due_wakes_and_what_is_due_later_does_not(
    engine: RedisEngine, server: RedisServer, clock: VirtualClock
) -> None:
    back, soon, later = leased(engine, "back", "soon", "later")
    idle(engine, "one")
    with listening(server, "one") as ear:
        engine.settle([Settlement(later, "retry", after=4_501)])
        assert woken(ear) == []
        engine.settle([Settlement(soon, "retry", after=4_500)])
        assert woken(ear) == ["one"]
        clock.advance(0.5)
        server.do("SADD", IDLE, "one 1 one")
        clock.jump(-3_600)  # it was due in the future then
        engine.give_back([back])
        assert woken(ear) == ["one"]


def test_all_that_idle_hear_of_what_is_due_before_anything_they_know_of(
    engine: RedisEngine, server: RedisServer
) -> None:
    """One alone may have other work by then."""
    for owner in ("a", "b", "c"):
        idle(engine, owner)
    with listening(server, "a", "b", "c") as ear:
        publish(engine, "first", delay=2_000)
        assert sorted(woken(ear)) == ["a", "b", "c"]
        server.do("SADD", IDLE, "a 1 a", "b 1 b")
        publish(engine, "later", delay=3_000)  # they come before, and look again then
        assert woken(ear) == []
        publish(engine, "earlier", delay=1_000)
        assert sorted(woken(ear)) == ["a", "b"]


def test_who_leaves_work_behind_passes_the_wake_on(engine: RedisEngine, server: RedisServer) -> None:
    engine.register("busy", 30)
    publish(engine)
    publish(engine)
    server.do("SADD", IDLE, idle_entry := "one 1 one")
    engine.register("one", 30)
    with listening(server, "one") as ear:
        claim(engine, "busy", limit=1)
        assert woken(ear) == ["one"]
        server.do("SADD", IDLE, idle_entry)
        claim(engine, "busy", limit=1, seq=2)
        assert woken(ear) == []


def test_who_cannot_carry_all_passes_the_wake_on(engine: RedisEngine, server: RedisServer) -> None:
    engine.register("busy", 30)
    engine.register("one", 30)
    engine.publish([publication(body=b"x" * 1_000_000) for _ in range(5)])
    server.do("SADD", IDLE, "one 1 one")
    with listening(server, "one") as ear:
        claim(engine, "busy", limit=10)
        assert woken(ear) == ["one"]
    assert engine.depth("q").ready == 1


# --- being handed a message ---


@pytest.mark.parametrize("holds", [False, True])
def test_while_a_charged_message_waits_the_wake_is_passed_on_for_what_is_left(
    engine: RedisEngine, server: RedisServer, clock: VirtualClock, holds: bool
) -> None:
    (receipt,) = leased(engine, "charged")
    engine.bury("busy", started=[receipt])
    engine.register("one", 30)
    if holds:
        publish(engine, "held")
        claim(engine, "one")
    clock.advance(1)
    engine.reap()
    if not holds:
        publish(engine, "other")
    engine.register("free", 30)
    server.do("SADD", IDLE, "free 1 free")  # who comes was woken in its place
    with listening(server, "free") as ear:
        claim(engine, "one", seq=2)
        assert state(engine, "charged") == ("ready" if holds else "leased")
        assert woken(ear) == ["free"]
    assert not holds or state(engine, "held") == "leased"


def test_a_message_is_handed_to_one_that_idles(engine: RedisEngine, server: RedisServer) -> None:
    for owner in ("a", "b"):
        idle(engine, owner)
    with listening(server, "a", "b") as ear:
        publish(engine, "m")
        ((channel, said),) = ear.heard()
    assert said.startswith("\1")
    assert [receipt.id for receipt in engine.held(channel)] == ["m"]
    assert state(engine, "m") == "leased"
    assert engine.audit().balanced


def test_a_message_is_not_handed_to_one_that_does_not_hear(engine: RedisEngine, server: RedisServer) -> None:
    idle(engine, "deaf")
    publish(engine, "m")
    assert (state(engine, "m"), engine.held("deaf")) == ("ready", [])


def test_of_those_that_have_run_something_alone_one_is_woken(
    engine: RedisEngine, server: RedisServer, clock: VirtualClock
) -> None:
    receipts = leased(engine, "one", "two")
    engine.bury("busy", started=receipts)
    clock.advance(1)
    for owner in ("a", "b"):
        engine.register(owner, 30)
        (delivery,) = engine.claim(owner, ["q"], limit=1, seq=1).deliveries
        assert delivery.alone
        engine.settle([Settlement(delivery.receipt, "done")])
        server.do("SADD", IDLE, f"{owner} 2 {owner}")
    with listening(server, "a", "b") as ear:
        publish(engine, "m")
        assert len(woken(ear)) == 1
    assert state(engine, "m") == "ready"
    server.do("DEL", IDLE)
    engine.cancel("m")
    server.do("SADD", IDLE, "a 2 a")  # nobody hears it now
    publish(engine, "n")
    assert state(engine, "n") == "ready"


@pytest.mark.parametrize("why", ["two at once", "large", "behind another"])
def test_a_message_that_is_not_handed_over_waits_and_wakes(
    engine: RedisEngine, server: RedisServer, why: str
) -> None:
    if why == "behind another":
        publish(engine, "first")
    engine.register("one", 30)
    server.do("SADD", IDLE, "one 1 one")
    with listening(server, "one") as ear:
        if why == "two at once":
            engine.publish([publication("m"), publication("n")])
        else:
            publish(engine, "m", body=b"x" * (70_000 if why == "large" else 1))
        assert woken(ear) == ["one"]
    assert state(engine, "m") == "ready"


# --- leaving ---


def withdraw(engine: RedisEngine, owner: str) -> int:
    told: int = engine._server.run("withdraw", owner.encode(), b"1", f"{owner} 1 {owner}".encode(), b"q")
    return told


def test_who_withdraws_stands_there_no_more(engine: RedisEngine, server: RedisServer) -> None:
    idle(engine, "one")
    assert withdraw(engine, "one") == 0
    assert server.do("EXISTS", IDLE) == 0


def test_who_was_handed_something_or_is_gone_has_more_to_say(
    engine: RedisEngine, server: RedisServer
) -> None:
    idle(engine, "one")
    with listening(server, "one"):
        publish(engine)
    assert withdraw(engine, "one") == 1
    assert withdraw(engine, "nobody") == 1


def test_a_wake_that_was_for_one_that_withdraws_goes_to_another(
    engine: RedisEngine, server: RedisServer
) -> None:
    idle(engine, "one")
    engine.register("other", 30)
    with listening(server, "one", "other") as ear:
        publish(engine, "m", expires_in=1_000)
        assert woken(ear) == ["one"]
        server.do("SADD", IDLE, "other 1 other")
        withdraw(engine, "one")
        assert woken(ear) == ["other"]
        server.do("SADD", IDLE, "other 1 other", "one 1 one")
        withdraw(engine, "one")  # nobody had woken it
        assert woken(ear) == []
        engine.cancel("m")
        withdraw(engine, "one")  # and there is nothing to do any more
        assert woken(ear) == []
        publish(engine, "n", expires_in=1_000)
        assert woken(ear) == ["other"]


def test_who_was_served_leaves_the_wakes_to_others(engine: RedisEngine, server: RedisServer) -> None:
    publish(engine, expires_in=1_000)
    publish(engine, expires_in=1_000)
    engine.register("one", 30)
    claim(engine, "one")
    engine.register("other", 30)
    server.do("SADD", IDLE, "other 1 other")
    with listening(server, "other") as ear:
        assert withdraw(engine, "one") == 1
        assert woken(ear) == []
