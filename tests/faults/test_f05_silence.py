"""F5 and outages: Redis falls silent, or is not there; everybody notices, nobody is stuck, nobody is reaped for it."""

from __future__ import annotations

import time

import pytest

from reliq.testing.faults import Weather
from tests.faults import fault_app
from tests.faults.rig import Producing, Proxied

NOTICED = 20.0  # seconds in which a worker knows that the broker is silent
ALLOWED = 10.0  # seconds until everybody consumes again: a wait between two tries is at most 5 s


def fall_silent(rig: Proxied, *, seconds: float) -> None:
    with rig.fleet(size=2, lease=5.0) as fleet:
        with Producing(rig, fault_app.work, 1, 0.005) as producing:
            rig.await_busy(fleet, 30)
            begun = time.monotonic()
            rig.proxy.weather = Weather(black_hole=True)
            for worker in fleet.workers:
                rig.await_true(lambda w=worker: "broker unreachable" in w.tail(), NOTICED)  # type: ignore[misc]
            noticed = time.monotonic() - begun
            time.sleep(max(0.0, seconds - noticed))
            rig.proxy.weather = Weather()
            ended = time.monotonic()
            rig.await_busy(fleet, ALLOWED)
            busy = time.monotonic() - ended
        rig.await_drained(60)
        fleet.stop()
    print(f"noticed after {noticed:.1f} s, consuming {busy:.1f} s after the end")
    assert producing.slowest <= 5.5, "a publisher is told within 5 s"
    rig.check(max_crashes=20)


def test_a_silent_broker_is_noticed_and_nobody_is_stuck(proxied: Proxied) -> None:
    fall_silent(proxied, seconds=8.0)


@pytest.mark.full
@pytest.mark.timeout(600)
def test_a_minute_of_silence_leaves_nobody_stuck(proxied: Proxied) -> None:
    fall_silent(proxied, seconds=60.0)


def outlast(
    rig: Proxied, weather: Weather, *, lease: float, seconds: float, size: int = 3, strand: bool = False
) -> None:
    """Some workers in the midst of their tasks while the broker is away for two leases or more."""
    ids = rig.publish(fault_app.work, ((number, seconds + 4.0) for number in range(size)))
    with rig.fleet(
        "-c", "1", size=size, lease=lease, environment={"RELIQ_RENEW_EVERY": str(min(2.0, lease / 3))}
    ) as fleet:
        rig.await_count("started", size, 30)
        rig.proxy.weather = weather
        if weather.refuse:
            rig.proxy.reset()
        time.sleep(seconds)  # the length of the outage is the subject here
        assert all(owner.expires < time.time() * 1000 for owner in rig.engine.owners())
        if strand:
            rig.proxy.strand()
        rig.proxy.weather = Weather()
        rig.await_drained(30)
        fleet.stop()
    log = fleet.log()
    assert "is dead" not in log and "is replaced" not in log, log
    report = rig.check(max_crashes=0)
    assert report.duplicated == 0
    assert [rig.engine.get(id).attempt for id in ids] == [1] * size


@pytest.mark.parametrize(
    "weather", [Weather(refuse=True), Weather(black_hole=True)], ids=["refused", "silent"]
)
def test_an_outage_of_two_leases_reaps_nobody(proxied: Proxied, weather: Weather) -> None:
    outlast(proxied, weather, lease=1.5, seconds=3.2)


@pytest.mark.full
@pytest.mark.timeout(300)
def test_an_outage_that_strands_connections_reaps_nobody(proxied: Proxied) -> None:
    outlast(proxied, Weather(black_hole=True), lease=10.0, seconds=60.0, size=6, strand=True)
