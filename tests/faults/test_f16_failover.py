"""F16: the Redis that is the master dies, the sentinels promote another; workers go on with that one."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from reliq.testing.servers import RedisServer, SentinelGroup
from tests.faults import fault_app
from tests.faults.grounds import ENGINES
from tests.faults.rig import Producing, Rig

ALLOWED = 5.0  # seconds from the promotion until everybody consumes
LAG = 1.0  # seconds of what was confirmed that a replica may not have
LEFT = 2.0  # seconds after which everybody has left a master that was replaced while it lives


class SentinelGround:
    """A master, two replicas, three sentinels."""

    name = "redis"

    def __init__(self, group: SentinelGroup) -> None:
        self.group = group
        self.url = group.url


@pytest.fixture
def ground(reliq_redis_binary: None) -> Iterator[SentinelGround]:
    if "redis" not in ENGINES:
        pytest.skip("the Redis engine is not installed")
    with SentinelGroup(appendonly="everysec") as group:
        yield SentinelGround(group)


def fail_over(rig: Rig, group: SentinelGroup, *, times: int) -> None:
    kills, slowest = [], 0.0
    with rig.fleet(size=2, lease=10.0) as fleet:
        with Producing(rig, fault_app.work, 1, 0.005):
            rig.await_busy(fleet, 30)
            for _ in range(times):
                dead = group.kill_master(wait=False)
                kills.append(time.monotonic())
                rig.await_true(lambda d=dead: _is_master(group.master, d), 30)  # type: ignore[misc]
                promoted = time.monotonic()
                rig.await_busy(fleet, ALLOWED)
                slowest = max(slowest, time.monotonic() - promoted)
                # The dead one has no data: before it is started nobody may take it for the master any more.
                rig.await_true(lambda: _all_follow(group), 30)
                group.heal()
        rig.await_drained(60)
        fleet.stop()
    print(f"consuming {slowest:.2f} s after a promotion at most")
    report = rig.check_but_for(kills, LAG, max_crashes=20)
    print(f"lost {len(report.lost)} of {report.confirmed}: confirmed, and not replicated yet")
    assert report.confirmed > 50 * times


def replace_living_master(rig: Rig, group: SentinelGroup) -> None:
    """The master is replaced while it lives, and takes writes until a sentinel tells it, which is in ten seconds."""
    with rig.fleet(size=2, lease=10.0) as fleet:
        with Producing(rig, fault_app.work, 1, 0.005):
            rig.await_busy(fleet, 30)
            old, begun = group.master, time.monotonic()
            group.fail_over()
            promoted = time.monotonic()
            rig.await_true(lambda: old.info("replication")["role"] == "slave", 60)
            print(f"took writes for {time.monotonic() - promoted:.2f} s after its replacement")
            rig.await_busy(fleet, ALLOWED)
        rig.await_drained(60)
        fleet.stop()
    report = rig.check_but_for([promoted + LEFT], LAG + LEFT + promoted - begun, max_crashes=20)
    print(f"lost {len(report.lost)} of {report.confirmed}: confirmed by the old master")
    assert report.confirmed > 100


def _is_master(server: RedisServer, dead: RedisServer) -> bool:
    return server is not dead and server.info("replication")["role"] == "master"


def _all_follow(group: SentinelGroup) -> bool:
    master = group.master
    told = [replica.info("replication") for replica in group.replicas]
    return all(one.get("master_port") == str(master.address[1]) for one in told)


def test_workers_follow_a_fail_over(rig: Rig, ground: SentinelGround) -> None:
    fail_over(rig, ground.group, times=1)


@pytest.mark.full
def test_workers_leave_a_master_that_was_replaced_while_it_lives(rig: Rig, ground: SentinelGround) -> None:
    replace_living_master(rig, ground.group)


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_workers_follow_many_fail_overs(rig: Rig, ground: SentinelGround) -> None:
    fail_over(rig, ground.group, times=10)
