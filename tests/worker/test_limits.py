from __future__ import annotations

import time
from typing import Any

import pytest


def test_a_soft_limit_interrupts_a_sleep_a_silent_socket_a_loop_and_a_coroutine(
    place: Any, until: Any
) -> None:
    worker = place.worker()
    for name in ("soft_sleep", "soft_socket", "soft_loop", "soft_async"):
        handle = place.task(name).delay()
        until(handle.ready, timeout=6, what=name)
        record = place.engine.get(handle.id)
        assert record.state == "failed" and "SoftTimeLimitExceeded" in record.reason
        assert (record.crashes, record.attempt) == (0, 1)
    after = place.task("quick").delay(1)
    until(after.ready)
    assert "was killed" not in worker.log


def test_a_soft_limit_reaches_python_code_in_a_thread(place: Any, until: Any) -> None:
    place.worker(threads=2)
    handle = place.task("soft_loop").delay()
    until(handle.ready, timeout=6)
    assert "SoftTimeLimitExceeded" in place.engine.get(handle.id).reason


def test_a_soft_limit_holds_in_a_solo_worker(place: Any, until: Any) -> None:
    place.worker(solo=True)
    handle = place.task("soft_sleep").delay()
    until(handle.ready, timeout=6)
    assert "SoftTimeLimitExceeded" in place.engine.get(handle.id).reason


@pytest.mark.parametrize("id", [None, "chosen-" + "x" * 190])
def test_a_hard_limit_charges_only_its_own_task(place: Any, until: Any, id: str | None) -> None:
    place.worker(threads=2, lease=60.0)
    beside = place.task("nap").delay(1.5, "beside")
    until(lambda: place.lines("begin"))
    late = place.task("hard").apply_async(("late",), task_id=id)
    until(late.ready, timeout=6)
    record = place.engine.get(late.id)
    assert (record.state, record.crashes, record.reason) == ("failed", 0, "time limit 0.5 s")
    until(beside.ready, timeout=10)
    record = place.engine.get(beside.id)
    assert (record.state, record.crashes) == ("done", 0)


@pytest.mark.parametrize("options", [{}, {"threads": 2}, {"solo": True}])
def test_a_running_task_is_cancelled(place: Any, until: Any, options: dict[str, Any]) -> None:
    place.worker(lease=3.0, renew_every=0.2, **options)
    if options.get("threads"):
        handle = place.task("soft_loop").apply_async(soft_time_limit=60, time_limit=90)
        until(lambda: place.engine.get(handle.id).state == "leased")
    else:
        handle = place.task("nap").delay(60.0, "x")
        until(lambda: place.lines("begin"))
    assert place.engine.cancel(handle.id).status == "requested"
    until(handle.ready, timeout=4)
    record = place.engine.get(handle.id)
    assert (record.state, record.reason) == ("dropped", "cancelled")
    after = place.task("quick").delay(1)
    until(after.ready)


def test_a_running_coroutine_is_cancelled(place: Any, until: Any) -> None:
    place.worker(renew_every=0.2)
    handle = place.task("anap_named").delay(60.0, "x")
    until(lambda: place.lines("begin"))
    place.engine.cancel(handle.id)
    until(handle.ready, timeout=4)
    assert place.engine.get(handle.id).state == "dropped"


def test_a_coroutine_is_cancelled_that_could_not_yet_take_its_first_step(place: Any, until: Any) -> None:
    worker = place.worker(renew_every=0.1)
    blocking = place.task("blocks_the_loop").delay(0.8, "blocking")
    until(lambda: place.lines("begin"))
    handle = place.task("anap_named").delay(60.0, "x")
    child = worker.children()
    until(lambda: place.engine.get(handle.id).state == "leased")
    place.engine.cancel(handle.id)
    until(handle.ready, timeout=3)
    until(blocking.ready)
    assert place.engine.get(handle.id).reason == "cancelled"
    assert worker.children() == child


def test_a_task_that_does_not_heed_a_cancel_is_killed(place: Any, until: Any) -> None:
    worker = place.worker(renew_every=0.2)
    handle = place.task("stubborn").delay("x")
    until(lambda: place.lines("begin"))
    child = worker.children()
    place.engine.cancel(handle.id)
    began = time.monotonic()
    until(handle.ready, timeout=10)
    assert time.monotonic() - began > 4
    assert place.engine.get(handle.id).reason == "cancelled"
    until(lambda: worker.children() and worker.children() != child)


@pytest.mark.parametrize("how", ["default", "handler"])
def test_an_alarm_that_a_task_leaves_behind_hits_nobody(place: Any, until: Any, how: str) -> None:
    worker = place.worker()
    culprit = place.task("leaves_an_alarm").delay(how)
    until(culprit.ready)
    (child,) = worker.children()
    innocent = place.task("nap").delay(0.6, "innocent")
    until(innocent.ready)
    assert place.engine.get(innocent.id).state == "done"
    assert len(place.lines("begin")) == 1
    assert worker.children() == [child]
