from __future__ import annotations

import signal
import threading
import time
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest

from reliq.worker import watch
from reliq.worker.board import FINISHED, FREE, STARTED
from reliq.worker.process import ChildProcess
from reliq.worker.reaper import Errands


@pytest.mark.parametrize("solo", [False, True])
def test_an_idle_worker_is_gone_within_a_second(place: Any, until: Any, solo: bool) -> None:
    worker = place.worker(concurrency=2, solo=solo)
    handle = place.task("quick").delay(1)
    until(handle.ready)
    began = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - began < 1.0 + (0.5 if solo else 0.2)
    assert place.engine.owners() == []


def test_a_warm_stop_under_load_finishes_what_runs_and_gives_back_the_rest(place: Any, until: Any) -> None:
    worker = place.worker(concurrency=2, lease=30.0)
    place.app.publish_many(place.task("nap"), [(0.02, f"n{i}") for i in range(200)])
    until(lambda: len(place.lines("end")) > 20)
    worker.signal(signal.SIGTERM)
    stopped = time.monotonic()
    time.sleep(0.12)  # after 0.1 s nothing may be claimed any more
    claimed = sum(1 for name, _ in place.server.calls if name == "claim")
    assert worker.process.wait(10) == 0
    assert time.monotonic() - stopped < 3
    assert sum(1 for name, _ in place.server.calls if name == "claim") == claimed
    audit = place.engine.audit()
    assert audit.balanced and audit.states["leased"] == 0
    assert audit.states["done"] == len(place.lines("end")) == len(place.lines("begin"))
    second = place.worker(concurrency=2)
    until(lambda: len(place.lines("end")) == 200, timeout=30)
    assert len({row[2] for row in place.lines("begin")}) == len(place.lines("begin")) == 200
    second.stop()


def test_a_task_beyond_the_grace_is_killed_and_runs_again_uncharged(place: Any, until: Any) -> None:
    worker = place.worker(grace=0.5)
    handle = place.task("nap").delay(2.0, "long")
    until(lambda: place.lines("begin"))
    began = time.monotonic()
    assert worker.stop() == 0
    assert 0.4 < time.monotonic() - began < 2
    assert worker.log.count("is killed: its tasks were given") == 1
    record = place.engine.get(handle.id)
    assert (record.state, record.crashes) == ("ready", 0)
    place.worker()
    until(handle.ready)


@pytest.mark.parametrize("solo", [False, True])
def test_a_task_that_ended_in_time_is_settled_also_when_the_broker_takes_until_after_the_grace(
    place: Any, until: Any, monkeypatch: pytest.MonkeyPatch, solo: bool
) -> None:
    settle, late = place.engine.settle, threading.Event()

    def slowly(*args: Any) -> Any:
        late.wait(10)
        return settle(*args)

    monkeypatch.setattr(place.engine, "settle", slowly)
    worker = place.worker(grace=0.5, solo=solo)
    handle = place.task("nap").delay(0.1, "short")
    until(lambda: place.lines("begin"))
    worker.signal(signal.SIGTERM)
    over = time.monotonic() + 1.0
    until(lambda: place.lines("end"))
    until(lambda: time.monotonic() > over)
    late.set()
    assert worker.process.wait(10) == 0
    assert place.engine.get(handle.id).state == "done"
    assert len(place.lines("begin")) == 1


def test_a_child_ends_at_once_whatever_it_has_loaded(place: Any, until: Any) -> None:
    worker = place.worker()
    until(place.task("lasts_long_in_memory").delay(30.0).ready)
    assert worker.stop(timeout=10) == 0
    assert "ended with exit code 0" in worker.log
    assert [row[2] for row in place.lines("atexit")] == ["-"], "what the app has asked for is done"


@pytest.mark.parametrize(
    ("states", "late", "over"),
    [
        ((FREE, STARTED), -0.1, False),
        ((FREE, STARTED), 0.1, True),
        ((FINISHED, STARTED), 0.1, False),  # the one that has run is to be settled
        ((FINISHED, STARTED), watch.SETTLE + 0.1, True),
        ((FREE, FREE), 0.1, False),  # it ends
        ((FREE, FREE), watch.SETTLE + 0.1, True),
    ],
)
def test_after_the_grace_there_is_time_to_settle_and_to_end(
    states: tuple[int, ...], late: float, over: bool
) -> None:
    assert watch.is_over_grace(bytes(states), late) is over


def test_a_second_signal_stops_at_once_and_loses_nothing(place: Any, until: Any) -> None:
    worker = place.worker(concurrency=2)
    handles = [place.task("nap").delay(20.0, f"n{i}") for i in range(4)]
    until(lambda: len(place.lines("begin")) == 2)
    worker.signal(signal.SIGTERM)
    until(lambda: "stopping" in worker.log)
    worker.signal(signal.SIGTERM)
    began = time.monotonic()
    assert worker.process.wait(5) == 0
    assert time.monotonic() - began < 1.5
    assert {place.engine.get(h.id).state for h in handles} == {"ready"}
    assert {place.engine.get(h.id).crashes for h in handles} == {0}
    assert place.engine.owners() == []


def test_a_second_signal_stops_a_solo_worker_too(place: Any, until: Any) -> None:
    worker = place.worker(solo=True)
    handle = place.task("nap").delay(20.0, "x")
    until(lambda: place.lines("begin"))
    worker.signal(signal.SIGINT)
    time.sleep(0.05)
    worker.signal(signal.SIGINT)
    assert worker.process.wait(5) == 0
    assert place.engine.get(handle.id).state == "ready"


def test_whoever_waits_for_the_last_errand_is_told() -> None:
    told: SimpleQueue[bool] = SimpleQueue()
    errands = Errands(done=lambda: told.put(errands.idle))
    errands.add("one", bool)
    errands.add("another", bool)
    errands.start()
    assert told.get(timeout=10)
    errands.end()
    errands.join(10)
    assert told.empty()


@pytest.mark.parametrize(
    ("code", "retired", "ready", "asked", "well"),
    [
        (0, True, True, False, True),
        (-signal.SIGTERM, True, True, True, True),  # while it took itself apart
        (-signal.SIGTERM, False, True, True, False),
        (120, True, True, False, True),  # nobody reads what it has printed
        (120, False, True, False, False),
        (-signal.SIGKILL, True, True, True, False),
        (0, False, False, True, True),
        (0, False, False, False, False),
        (0, False, True, True, False),
    ],
)
def test_a_child_that_had_finished_ended_well_also_by_a_signal_that_came_late(
    code: int, retired: bool, ready: bool, asked: bool, well: bool
) -> None:
    child: Any = ChildProcess.__new__(ChildProcess)
    child.board = SimpleNamespace(retired=retired, ready=ready)
    child.stopping_since = 1.0 if asked else None
    assert child.ended_well(code) is well
