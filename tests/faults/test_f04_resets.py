"""F4: all connections to Redis are reset, again and again; every worker goes on at once, and nothing is lost."""

from __future__ import annotations

import time

import pytest

from tests.faults import fault_app
from tests.faults.rig import Producing, Proxied

ALLOWED = 5.0  # seconds until everybody consumes again


def reset(rig: Proxied, *, times: int, every: float) -> None:
    slowest = 0.0
    with rig.fleet(size=2, lease=5.0) as fleet:
        with Producing(rig, fault_app.work, 1, 0.005, every=0.003):
            rig.await_busy(fleet, 30)
            for _ in range(times):
                time.sleep(every * rig.dice.random())
                begun = time.monotonic()
                assert rig.proxy.reset() > 0
                rig.await_busy(fleet, ALLOWED)
                slowest = max(slowest, time.monotonic() - begun)
        rig.await_drained(30)
        fleet.stop()
    print(f"consuming {slowest:.2f} s after a reset at most")
    report = rig.check(max_crashes=0)
    assert report.done >= report.confirmed > times
    assert report.duplicated == 0, "nobody died, so nothing runs twice"


def test_workers_go_on_after_each_reset(proxied: Proxied) -> None:
    reset(proxied, times=12, every=0.5)


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_workers_go_on_after_each_of_two_hundred_resets(proxied: Proxied) -> None:
    reset(proxied, times=200, every=1.0)
