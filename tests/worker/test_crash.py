from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest


def ends(place: Any, handles: list[Any]) -> bool:
    return all(place.engine.get(h.id).state in ("done", "failed", "dropped") for h in handles)


def test_a_task_whose_child_is_killed_runs_again_at_once_elsewhere(place: Any, until: Any) -> None:
    place.worker(lease=60.0)
    handle = place.task("nap").delay(1.0, "x")
    (_, pid, _name) = until(lambda: place.lines("begin"))[0]
    os.kill(int(pid), signal.SIGKILL)
    began = time.monotonic()
    until(lambda: len(place.lines("begin")) == 2)
    assert time.monotonic() - began < 4  # 1 s for the charge, the rest to start a process
    until(handle.ready)
    record = place.engine.get(handle.id)
    assert (record.state, record.crashes, record.attempt) == ("done", 1, 2)
    owners = {step.owner for step in record.transitions if step.to == "leased"}
    assert len(owners) == 2
    assert place.lines("end")[0][1] != pid


def test_a_grandchild_that_outlives_its_parent_delays_nothing(place: Any, until: Any) -> None:
    worker = place.worker(lease=60.0)
    place.task("grandchild").apply_async((60,), expires=5)
    pid = int(until(lambda: place.lines("left"))[0][2])
    began = time.monotonic()
    try:
        other = place.task("quick").delay(1)
        until(other.ready)
        assert time.monotonic() - began < 5
        os.kill(pid, 0)  # it still lives
    finally:
        os.kill(pid, signal.SIGKILL)
    assert worker.process.poll() is None


def test_children_die_with_their_parent(place: Any, until: Any) -> None:
    worker = place.worker(concurrency=2)
    until(lambda: len(worker.children()) == 2)
    place.task("hog").delay(60)
    until(lambda: place.lines("begin"))
    children = worker.children()
    os.kill(worker.pid, signal.SIGKILL)
    worker.process.wait()
    until(lambda: not any(_alive(pid) for pid in children), timeout=5)


@pytest.mark.parametrize("threads", [1, 8])
def test_poison_is_quarantined_after_three_runs_and_innocents_are_not(
    place: Any, until: Any, threads: int
) -> None:
    innocent = [place.task("quick").delay(n) for n in range(100)]
    poison = {how: place.task("poison").delay(how, how) for how in ("exit", "exit_0", "exec", "segv", "kill")}
    innocent += [place.task("quick").delay(n) for n in range(100, 200)]
    place.worker(threads=threads, lease=30.0, concurrency=2)
    until(lambda: ends(place, [*innocent, *poison.values()]), timeout=40)
    assert {place.engine.get(h.id).state for h in innocent} == {"done"}
    for how, handle in poison.items():
        record = place.engine.get(handle.id)
        assert record.state == "failed" and "crashed" in record.reason
        runs = len([row for row in place.lines("poison") if row[2] == how])
        assert runs == 3 or (
            threads > 1 and runs == 2
        )  # another's crash may come between its start and its line


def test_what_had_run_and_was_not_settled_is_charged_with_the_death_of_its_neighbour(
    place: Any, until: Any
) -> None:
    place.worker(threads=2, lease=60.0)
    short, long = place.task("nap").delay(0.5, "short"), place.task("nap").delay(3.0, "long")
    until(lambda: len(place.lines("begin")) == 2)
    place.server.down()
    (_, pid, _name) = until(lambda: place.lines("end"))[0]
    os.kill(int(pid), signal.SIGKILL)
    place.server.up()
    until(lambda: ends(place, [short, long]), timeout=20)
    for handle in (short, long):
        record = place.engine.get(handle.id)
        assert (record.state, record.crashes, record.attempt) == ("done", 1, 2)


def test_a_task_that_cuts_its_process_off_from_the_broker_is_quarantined(place: Any, until: Any) -> None:
    place.worker(watchdog=0.5, renew_every=0.1)
    poison = place.task("cuts_the_connection").delay("x")
    until(poison.ready, timeout=15)
    assert "crashed 3 times" in place.engine.get(poison.id).reason
    after = place.task("quick").delay(1)
    until(after.ready)


def test_a_child_that_cannot_start_is_given_up_with_its_last_words(place: Any, until: Any) -> None:
    worker = place.worker(env={"RELIQ_TEST_BREAK": "import"})
    assert worker.process.wait(30) == 4
    assert "this import is broken on purpose" in worker.log
    assert "giving up" in worker.log


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False
