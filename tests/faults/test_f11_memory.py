"""F11: Redis has no memory left; whoever publishes is told in time, and what was confirmed is done."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from reliq.errors import PublishRefused
from tests.faults import fault_app
from tests.faults.grounds import RedisGround
from tests.faults.rig import Rig

TOLD = 5.5  # seconds in which a publish is confirmed, or refused


@pytest.fixture
def ground() -> Iterator[RedisGround]:
    ground = RedisGround()
    yield ground
    ground.close()


def fill(rig: Rig, *, size: int) -> str:
    """Publish until the server is full; what the publisher is told."""
    for number in range(1_000_000):
        begun = time.monotonic()
        try:
            rig.publish_one(fault_app.work, (number, 0.001), headers={"filler": "x" * size})
        except PublishRefused as refused:
            return f"{type(refused.__cause__).__name__}: {refused}"
        finally:
            assert time.monotonic() - begun <= TOLD
    raise AssertionError("it is never full")


def run_full(rig: Rig, *, room: int, size: int) -> None:
    assert isinstance(rig.ground, RedisGround)
    server = rig.ground.server
    limit = int(server.info("memory")["used_memory"]) + room
    server.do("CONFIG", "SET", "maxmemory", limit)
    told = fill(rig, size=size)
    assert told.startswith("BrokerFull: "), told
    assert "maxmemory" in told, "the cause"
    confirmed = len(rig.facts("confirmed"))
    with rig.fleet(size=2) as fleet:
        rig.await_drained(60)  # settled although there is no room: that makes some
        assert len(fleet.pids()) == 2, fleet.log()
        server.do("CONFIG", "SET", "maxmemory", limit + room)
        more = rig.publish(fault_app.work, ((number, 0.0) for number in range(20)))
        rig.await_drained(20)
        fleet.stop()
    report = rig.check(max_crashes=20)
    assert report.done == confirmed + len(more)


def test_a_full_server_refuses_clearly_and_what_it_confirmed_is_done(rig: Rig) -> None:
    run_full(rig, room=2_000_000, size=2_000)


@pytest.mark.full
@pytest.mark.timeout(900)
def test_a_large_full_server_refuses_clearly_and_what_it_confirmed_is_done(rig: Rig) -> None:
    run_full(rig, room=60_000_000, size=2_000)
