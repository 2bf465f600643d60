from __future__ import annotations

import time
from typing import Any

import pytest

from reliq.errors import BrokerFull, BrokerUnavailable
from reliq.worker.outage import Outage


def test_an_outage_of_the_broker_ends_by_itself_and_reaps_nobody(place: Any, until: Any) -> None:
    worker = place.worker(lease=1.0, renew_every=0.2, sweep=0.2)
    place.app.publish_many(place.task("nap"), [(0.01, f"n{n}") for n in range(200)])
    long = place.task("nap").delay(2.0, "long")
    until(lambda: len(place.lines("end")) > 20)
    place.server.down()
    time.sleep(1.3)  # more than a lease: the length of the outage is the subject here
    place.server.up()
    began = time.monotonic()
    until(lambda: place.engine.audit().states["done"] >= 30)
    assert time.monotonic() - began < 6
    until(long.ready, timeout=20)
    until(lambda: place.engine.audit().states["done"] == 201, timeout=20)
    begun = [row[2] for row in place.lines("begin")]
    assert len(begun) == len(set(begun)) == 201, "nothing ran twice"
    assert place.engine.get(long.id).attempt == 1
    assert "is gone" not in worker.log


def test_lost_replies_lose_nothing_and_run_nothing_twice(place: Any, until: Any) -> None:
    place.worker(lease=30.0)
    warm = place.task("quick").delay(-1)
    until(warm.ready)
    for n in range(5):
        place.server.lose["claim"] = 1
        place.server.lose["settle"] = 1
        place.app.publish_many(place.task("quick"), [(n * 10 + m,) for m in range(10)])
        until(lambda n=n: place.engine.audit().states["done"] == 1 + (n + 1) * 10)
    runs = [row[2] for row in place.lines("quick")]
    assert len(runs) == len(set(runs)) == 51
    assert place.engine.depth("default").leased == 0


def test_a_worker_waits_for_a_broker_that_is_not_there_yet(place: Any, until: Any) -> None:
    place.server.down()
    worker = place.worker()
    until(lambda: "broker unreachable" in worker.log)
    place.server.up()
    handle = place.task("quick").delay(1)
    until(handle.ready)
    assert worker.stop() == 0


def test_an_outage_names_its_cause_and_says_when_that_changes(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage("w1")
    for error in (
        BrokerFull("x: disk full"),
        BrokerFull("again"),
        BrokerUnavailable("gone"),
        BrokerFull("y"),
    ):
        outage.failed(error)
    assert outage.over() and not outage.over()
    assert [record.getMessage().partition(" after")[0] for record in caplog.records] == [
        "w1: broker full, trying again: x: disk full",
        "w1: broker unreachable, trying again: gone",
        "w1: broker full, trying again: y",
        "w1: broker has room again",
    ]
