from __future__ import annotations

import os
import signal
import time
from typing import Any


def test_a_task_that_holds_the_gil_for_three_leases_runs_once_and_its_neighbours_elsewhere(
    place: Any, until: Any
) -> None:
    quick = [place.task("quick").delay(n) for n in range(40)]
    place.worker(lease=1.0, sweep=0.2)
    until(lambda: all(h.ready() for h in quick))  # the child prefetches by now
    hog = place.task("hog").delay(3.0)
    neighbours = [place.task("quick").delay(100 + n) for n in range(20)]
    until(lambda: place.lines("begin"))
    place.worker(lease=1.0, sweep=0.2)
    until(lambda: all(h.ready() for h in neighbours))
    assert not place.lines("end"), "the neighbours waited for the hog"
    until(hog.ready)
    record = place.engine.get(hog.id)
    assert (record.state, record.attempt, len(place.lines("begin"))) == ("done", 1, 1)
    assert {row[1] for row in place.lines("quick") if int(row[2]) >= 100} != {place.lines("begin")[0][1]}


def test_prefetched_neighbours_of_a_long_task_are_taken_back(place: Any, until: Any) -> None:
    quick = [place.task("quick").delay(n) for n in range(200)]
    worker = place.worker(lease=30.0)
    until(lambda: all(h.ready() for h in quick))
    place.server.calls.clear()
    place.app.publish_many(place.task("quick"), [(n,) for n in range(50)])
    place.task("nap").delay(2.0, "long")
    place.app.publish_many(place.task("quick"), [(1000 + n,) for n in range(50)])
    until(lambda: place.lines("begin"))
    until(lambda: place.engine.depth("default").leased == 1, timeout=1.5)
    until(lambda: place.lines("end"))
    until(lambda: len(place.lines("quick")) == 300)
    assert worker.stop() == 0
    assert place.engine.audit().states["done"] == 301


def test_results_of_finished_neighbours_do_not_wait_for_a_long_task(place: Any, until: Any) -> None:
    place.worker(prefetch=50)
    warm = [place.task("quick").delay(n) for n in range(200)]
    until(lambda: all(h.ready() for h in warm))
    place.app.publish_many(place.task("quick"), [(n,) for n in range(30)])
    last = place.task("quick").delay(999)
    place.task("nap").delay(3.0, "long")
    until(last.ready, timeout=2.5)
    assert not place.lines("end")


def test_a_stopped_worker_finds_out_that_it_is_dead_and_settles_nothing(place: Any, until: Any) -> None:
    first = place.worker(lease=1.0, renew_every=0.3, sweep=0.2)
    handle = place.task("nap").delay(1.5, "x")
    (_, pid, _name) = until(lambda: place.lines("begin"))[0]
    tree = [first.pid, *first.children()]
    for process in tree:
        os.kill(process, signal.SIGSTOP)
    second = place.worker(lease=1.0, renew_every=0.3, sweep=0.2)
    until(lambda: len(place.lines("begin")) == 2)  # reaped, and begun by the other one
    began = time.monotonic()
    for process in tree:
        os.kill(process, signal.SIGCONT)
    until(lambda: "is dead for the broker" in first.log)
    assert time.monotonic() - began < 2
    until(handle.ready)
    record = place.engine.get(handle.id)
    assert record.state == "done" and record.crashes == 1
    settled_by = {step.owner for step in record.transitions if step.to == "done"}
    assert settled_by == {record.transitions[-2].owner}
    until(lambda: int(pid) not in first.children() and first.children())
    other = place.task("quick").delay(1)
    until(other.ready)
    assert first.stop() == 0 and second.stop() == 0


def test_what_is_left_of_a_batch_whose_tasks_became_slower_is_run_by_others(place: Any, until: Any) -> None:
    place.app.publish_many(place.task("noop"), [()] * 2000)
    place.app.publish_many(place.task("nap"), [(0.03, f"n{i}") for i in range(100)])
    place.worker(lease=30.0)
    until(lambda: place.lines("begin"))
    place.worker(lease=30.0)
    until(lambda: len(place.lines("end")) == 100, timeout=10)
    assert len({row[1] for row in place.lines("end")}) == 2
    assert len(place.lines("begin")) == 100
