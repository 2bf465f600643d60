from __future__ import annotations

import json
import signal
import time
from collections import deque
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from reliq.worker import health
from reliq.worker.supervisor import Supervisor


@pytest.mark.parametrize("options", [{}, {"threads": 3}, {"concurrency": 2}, {"solo": True}])
def test_a_worker_runs_what_was_published_and_stops_when_told(
    place: Any, until: Any, options: dict[str, Any]
) -> None:
    worker = place.worker(**options)
    handles = [place.task("quick").delay(n) for n in range(300)]
    until(lambda: all(h.ready() for h in handles))
    assert sorted(int(row[2]) for row in place.lines("quick")) == list(range(300))
    assert [h.get() for h in handles] == list(range(300))
    assert worker.stop(timeout=5) == 0
    assert place.engine.owners() == []
    assert place.engine.audit().balanced


def test_one_slot_is_the_main_thread_and_several_are_not(place: Any, until: Any) -> None:
    place.worker()
    handle = place.task("threads_seen").delay()
    until(handle.ready)
    assert handle.get() == "MainThread"


def test_a_child_is_replaced_after_its_number_of_tasks(place: Any, until: Any) -> None:
    place.worker(max_tasks_per_child=10)
    handles = [place.task("quick").delay(n) for n in range(30)]
    until(lambda: all(h.ready() for h in handles))
    runs: dict[str, int] = {}
    for _, pid, _n in place.lines("quick"):
        runs[pid] = runs.get(pid, 0) + 1
    assert list(runs.values()) == [10, 10, 10]


def test_a_child_that_uses_too_much_memory_is_replaced(place: Any, until: Any) -> None:
    place.worker(max_memory_per_child=1)  # KiB: every child is above it
    place.task("quick").delay(1)
    worker = place.workers[0]
    until(lambda: "KiB and is replaced" in worker.log)
    first = worker.children()
    until(lambda: worker.children() not in ([], first))


def test_a_hang_up_replaces_the_children_one_after_the_other(place: Any, until: Any) -> None:
    worker = place.worker(concurrency=2)
    until(lambda: len(worker.children()) == 2)
    first = set(worker.children())
    handle = place.task("nap").delay(0.5, "through")
    until(lambda: place.lines("begin"))
    worker.signal(signal.SIGHUP)
    until(lambda: len(worker.children()) == 2 and not first & set(worker.children()))
    until(handle.ready)
    assert len(place.lines("begin")) == 1


def test_queues_are_served_fairly_or_by_weight(place: Any, until: Any) -> None:
    for n in range(60):
        place.task("quick").apply_async((n,), queue="a")
        place.task("quick").apply_async((100 + n,), queue="b")
    place.worker(queues=[("a", 3.0), ("b", 1.0)], prefetch=1)
    until(lambda: len(place.lines("quick")) == 120)
    first = [int(row[2]) for row in place.lines("quick")[:40]]
    assert 26 <= sum(n < 100 for n in first) <= 34


def test_a_damaged_message_is_quarantined_and_harms_nobody(place: Any, until: Any) -> None:
    worker = place.worker()
    bad = place.task("quick").delay(1)
    until(bad.ready)
    handle = place.app.send_task("work_app.no_such_task", (1,))
    good = place.task("quick").delay(2)
    until(good.ready)
    until(lambda: place.engine.get(handle.id).state == "due")
    assert "parked" in place.engine.get(handle.id).reason
    assert len(worker.children()) == 1


def test_the_log_can_be_json(place: Any, until: Any) -> None:
    worker = place.worker(log_format="json")
    handle = place.app.send_task("work_app.no_such_task", (1,))  # parked, with a line from the child
    until(lambda: place.engine.get(handle.id).state == "due")
    worker.stop()
    lines = [json.loads(line) for line in worker.log.splitlines()]
    assert {"reliq.worker", "reliq.task"} <= {line["logger"] for line in lines}


def test_a_process_that_a_task_forks_can_be_terminated(place: Any, until: Any) -> None:
    place.worker()
    handle = place.task("forks").delay()
    until(handle.ready, timeout=8)
    assert handle.get() == -15
    after = place.task("quick").delay(1)
    until(after.ready)


def test_what_does_not_let_a_child_end_has_what_is_left_of_the_grace(place: Any, until: Any) -> None:
    worker = place.worker(grace=1.0, env={"PYTHONUNBUFFERED": ""})
    handle = place.task("leaves_a_thread").delay("printed")
    until(handle.ready)
    began = time.monotonic()
    assert worker.stop(timeout=6) == 0
    assert time.monotonic() - began > 1.0
    assert place.engine.get(handle.id).state == "done"
    assert "thread 'left behind' did not end" in worker.log
    assert "printed" in worker.log


def test_a_child_that_has_finished_and_does_not_end_is_replaced_meanwhile(place: Any, until: Any) -> None:
    worker = place.worker(max_tasks_per_child=1)
    handle = place.task("leaves_a_thread").delay("")
    until(handle.ready)
    (first,) = worker.children()
    after = place.task("quick").delay(1)
    until(after.ready)
    assert first in worker.children()
    assert "cut off" not in worker.log
    until(lambda: first not in [child.pid for child in health.read(worker.health).children])


@pytest.mark.parametrize(
    ("working", "lingering", "missing"),
    [
        (2, 0, False),
        (1, 0, True),
        (1, 1, True),
        (2, 1, False),
        (0, 3, True),
        (1, 2, True),
        (1, 3, False),
        (0, 4, False),
    ],
)
def test_no_more_children_are_left_to_linger_than_are_to_work(
    working: int, lingering: int, missing: bool
) -> None:
    supervisor: Any = Supervisor.__new__(Supervisor)
    supervisor._options = SimpleNamespace(children=2)
    since = [None] * working + [time.monotonic() - 60.0] * lingering
    supervisor._children = [SimpleNamespace(retired_since=at) for at in since]
    assert supervisor._are_missing() is missing


def test_children_are_replaced_one_after_the_other_and_none_waits_for_one_that_lingers() -> None:
    told: list[str] = []
    supervisor: Any = Supervisor.__new__(Supervisor)
    lingering, second, third = (
        SimpleNamespace(retired_since=since, stop=partial(told.append, name))
        for name, since in (("lingering", time.monotonic() - 60.0), ("second", None), ("third", None))
    )
    supervisor._children = [lingering, second, third]
    supervisor._to_replace, supervisor._stopping_since = deque(supervisor._children), None
    supervisor._replace_next()
    assert told == ["second"]


def test_a_broken_service_is_named_and_the_others_go_on(place: Any, until: Any) -> None:
    worker = place.worker()
    until(lambda: "service 'broken' failed" in worker.log)
    until(lambda: len(place.lines("tick")) > 2)


def test_middleware_hears_of_the_start_and_the_end_of_each_child(place: Any, until: Any) -> None:
    worker = place.worker(concurrency=2)
    until(lambda: len(place.lines("startup")) == 2)
    worker.stop()
    assert len(place.lines("shutdown")) == 2
    assert {row[1] for row in place.lines("startup")} == {row[1] for row in place.lines("shutdown")}


def test_one_process_alone_is_not_recycled_and_says_so(place: Any, until: Any) -> None:
    worker = place.worker(solo=True, max_tasks_per_child=1, max_memory_per_child=1)
    handles = [place.task("quick").delay(n) for n in range(3)]
    until(lambda: all(handle.ready() for handle in handles))
    assert "max_memory_per_child has no effect" in worker.log
    assert sum(name == "register" for name, _ in place.server.calls) == 1


@pytest.mark.parametrize("threads", [1, 2])
def test_a_task_that_returns_in_a_fork_as_well_is_settled_once(place: Any, until: Any, threads: int) -> None:
    worker = place.worker(threads=threads)
    child = until(worker.children)
    handle = place.task("returns_twice").delay()
    until(handle.ready)
    until(lambda: "returned in a fork as well" in worker.log)
    after = place.task("quick").delay(1)
    until(after.ready)
    assert len(place.lines("returns")) == 2
    assert worker.children() == child
    assert "failed; settling" not in worker.log
