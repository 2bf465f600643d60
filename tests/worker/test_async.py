from __future__ import annotations

import time
from typing import Any

import pytest


def test_a_thousand_coroutines_of_a_second_end_within_three_in_one_child(place: Any, until: Any) -> None:
    place.worker(lease=30.0)
    warm = place.task("quick").delay(0)
    until(warm.ready)
    began = time.monotonic()
    place.app.publish_many(place.task("anap"), [(1.0,)] * 1000)
    until(lambda: place.engine.audit().states["done"] == 1001)
    assert time.monotonic() - began < 3


def test_more_coroutines_than_there_is_room_for_keep_no_sync_task_waiting(place: Any, until: Any) -> None:
    place.worker(async_slots=5)
    place.app.publish_many(place.task("anap"), [(0.5,)] * 20)
    sync = place.task("quick").delay(1)
    until(sync.ready, timeout=5)
    until(lambda: place.engine.audit().states["done"] == 21, timeout=10)


def test_coroutines_that_wait_for_room_are_run_by_others(place: Any, until: Any) -> None:
    place.app.publish_many(place.task("anap_named"), [(6.0, f"a{n}") for n in range(4)])
    first = place.worker(async_slots=2)
    until(lambda: len(place.lines("begin")) == 2)
    place.worker(async_slots=2)
    until(lambda: len(place.lines("begin")) == 4, timeout=5)
    assert len({row[1] for row in place.lines("begin")}) == 2
    assert len(first.children()) == 1


def test_a_warm_stop_lets_coroutines_finish_and_gives_back_those_that_wait(place: Any, until: Any) -> None:
    worker = place.worker(async_slots=2)
    place.app.publish_many(place.task("anap_named"), [(0.7, f"a{n}") for n in range(6)])
    until(lambda: len(place.lines("begin")) == 2)
    assert worker.stop(timeout=5) == 0
    states = place.engine.audit().states
    assert states["leased"] == 0 and states["done"] == 2 and states["ready"] == 4


@pytest.mark.parametrize(("how", "state"), [("exit", "failed"), ("stop", "done")])
def test_a_coroutine_that_ends_the_event_loop_stops_no_other(
    place: Any, until: Any, how: str, state: str
) -> None:
    worker = place.worker()
    other = place.task("anap").delay(0.5)
    culprit = place.task("ends_the_loop").delay(how)
    until(lambda: place.engine.get(culprit.id).state == state, timeout=5)
    until(lambda: place.engine.get(other.id).state == "done", timeout=5)
    assert "it runs on" in worker.log


def test_what_waits_behind_a_coroutine_that_blocks_the_loop_is_run_by_others(place: Any, until: Any) -> None:
    worker = place.worker(concurrency=2, lease=30.0)
    blocking = place.task("blocks_the_loop").delay(4.0, "blocking")
    until(lambda: place.lines("begin"))
    others = [place.task("anap").delay(0.0) for _ in range(20)]
    until(lambda: all(handle.ready() for handle in others), timeout=3.5)
    assert not blocking.ready()
    assert "gave back" in worker.log
