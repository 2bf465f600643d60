"""A worker whose next claim is on its way while the present batch runs: here on a real Redis."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from reliq.plugins import open_engine
from reliq.testing.servers import RedisServer


@pytest.fixture
def redis_place(place: Any, reliq_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The place, with Redis instead of the engine of this process, here and in the workers."""
    reliq_redis.flush()
    monkeypatch.setenv("RELIQ_TEST_BROKER", reliq_redis.url)
    engine = open_engine(reliq_redis.url, app="work")
    place.app.use_engine(engine, place.app.clock)
    yield place, engine
    for worker in place.workers:
        worker.end()
    engine.close()


def test_each_of_many_brisk_tasks_runs_once(redis_place: Any, until: Any) -> None:
    place, engine = redis_place
    place.app.publish_many(place.task("quick"), [(n,) for n in range(3_000)])
    worker = place.worker()
    until(lambda: engine.audit().states["done"] == 3_000)
    assert sorted(int(row[2]) for row in place.lines("quick")) == list(range(3_000))
    assert worker.stop() == 0
    assert engine.audit().states == {**dict.fromkeys(engine.audit().states, 0), "done": 3_000}


def test_what_a_claim_brings_to_a_child_whose_task_keeps_the_interpreter_runs_elsewhere(
    redis_place: Any, until: Any
) -> None:
    place, engine = redis_place
    quick = place.task("quick")
    place.app.publish_many(quick, [(n,) for n in range(1_000)])
    place.task("hog").delay(6.0)
    place.app.publish_many(quick, [(n,) for n in range(1_000, 3_000)])
    place.worker(lease=2.0, sweep=0.2)
    until(lambda: place.lines("begin"))
    place.worker(lease=2.0, sweep=0.2)
    until(lambda: len(place.lines("quick")) >= 3_000)
    assert not place.lines("end"), "some waited for the hog"
    until(lambda: engine.audit().states["done"] == 3_001)
    assert sorted(int(row[2]) for row in place.lines("quick")) == list(range(3_000))
    assert len(place.lines("begin")) == 1


def test_what_is_handed_to_a_child_that_is_stopped_runs_elsewhere(redis_place: Any, until: Any) -> None:
    """An idle child's claim stands at the server, which may give it what comes; stopped, the child never looks."""
    place, engine = redis_place
    quick = place.task("quick")
    first = place.worker()
    quick.delay(0)
    until(lambda: place.lines("quick"))
    stopped = int(place.lines("quick")[0][1])
    until(lambda: engine._server.command(b"SCARD", b"{reliq:work}:idle:default") == 1)
    os.kill(stopped, signal.SIGSTOP)
    try:
        second = place.worker()
        until(lambda: engine._server.command(b"SCARD", b"{reliq:work}:idle:default") == 2)
        for n in range(1, 21):
            quick.delay(n)
        until(lambda: engine.audit().states["done"] == 21)
    finally:
        os.kill(stopped, signal.SIGCONT)
    assert sorted(int(row[2]) for row in place.lines("quick")) == list(range(21))
    assert second.stop() == first.stop() == 0
