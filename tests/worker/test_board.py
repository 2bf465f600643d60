from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from reliq.ports.values import Delivery, Receipt
from reliq.worker import posix
from reliq.worker.board import FINISHED, STARTED, Board, receipts, size_of
from reliq.worker.fetcher import Turns


def delivery(id: str, fence: int = 7) -> Delivery:
    return Delivery(Receipt(id, "me", fence), b"")


def pair(capacity: int = 8) -> tuple[Board, Board]:
    """The child's and the parent's view, both in this process."""
    fd = posix.shared_file(size_of(capacity))
    return Board(capacity, fd), Board(capacity, os.dup(fd))


@pytest.fixture(params=["ordered", "locked"])
def order(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways in which start and take-back keep out of each other's way; the second is that of other systems."""
    if request.param == "locked":
        monkeypatch.setattr(posix, "follow_order", lambda: False)
        monkeypatch.setattr(posix, "order_memory", lambda: pytest.fail("there is no such thing here"))
    elif not posix.follow_order():
        pytest.skip("this system knows no order but the lock's")


@pytest.mark.usefixtures("order")
def test_what_started_cannot_be_taken_back_and_what_was_taken_back_cannot_start() -> None:
    child, parent = pair()
    one, two = child.hold([delivery("a"), delivery("b")])
    assert child.start(one, 1.0)
    assert [entry.id for entry in parent.take() or ()] == ["b"]
    assert not child.start(two, 2.0)
    assert [(r.id, r.fence, r.started) for r in parent.running()] == [("a", 7, 1.0)]


def test_a_start_that_comes_while_the_parent_looks_waits_for_what_it_finds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    child, parent = pair()
    places = child.hold([delivery("a"), delivery("b")])
    looking, go_on = threading.Event(), threading.Event()

    class Slow(bytes):
        """The states; who reads them to the end is kept waiting."""

        def __iter__(self) -> Iterator[int]:  # type: ignore[override]
            looking.set()
            assert go_on.wait(20)
            yield from bytes(self)

    monkeypatch.setattr(parent, "states", lambda: Slow(Board.states(parent)))
    # Record locks do not part the threads of one process: here both sides have one mutex instead.
    child._mutex = parent._mutex
    taken: list[Any] = []
    take = threading.Thread(target=lambda: taken.extend(parent.take(only="b") or ()))
    take.start()
    assert looking.wait(20)
    started: list[bool] = []
    starts = [threading.Thread(target=lambda p=p: started.append(child.start(p, 1.0))) for p in places]
    for start in starts:
        start.start()
    while parent.states().count(STARTED) < 2:
        pass
    assert started == []
    go_on.set()
    for thread in (take, *starts):
        thread.join()
    assert sorted(started) == [False, True]
    assert [entry.id for entry in taken] == ["b"]
    assert [entry.id for entry in parent.running()] == ["a"]


@pytest.mark.usefixtures("order")
def test_of_many_deliveries_each_is_started_or_taken_back_by_two_processes_at_once() -> None:
    capacity = 64
    fd = posix.shared_file(size_of(capacity))
    parent = Board(capacity, fd)
    for round_ in range(20):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                board = Board(capacity, os.dup(fd))
                places = board.hold([delivery(f"{round_}-{n}") for n in range(capacity)])
                os.write(write, b"held")
                os.write(write, bytes(board.start(place, 1.0) for place in places))
                code = 0
            finally:
                os._exit(code)
        os.close(write)
        with open(read, "rb") as told:
            assert told.read(4) == b"held"
            # The one goes up, the other down; they meet somewhere.
            last_first = [f"{round_}-{n}" for n in reversed(range(capacity))]
            taken = {entry.place for id in last_first for entry in parent.take(timeout=20.0, only=id) or ()}
            started = told.read()
        assert os.waitpid(child, 0)[1] == 0
        assert [place in taken for place in range(capacity)] == [not ours for ours in started]


@pytest.mark.usefixtures("order")
def test_places_are_used_again() -> None:
    child, parent = pair(4)
    for round_ in range(20):
        places = child.hold([delivery(f"{round_}-{n}") for n in range(4)])
        assert child.room == 0
        for place in places:
            assert child.start(place, 1.0)
            child.finish(place)
        assert len(parent.running(state=FINISHED)) == 4
        for place in places:
            child.free(place)
    assert not parent.busy


def test_a_place_forgets_the_limit_of_the_task_before() -> None:
    child, parent = pair(1)
    (place,) = child.hold([delivery("a")])
    child.limit(place, 5.0)
    child.mark_async(place)
    child.free(place)
    (place,) = child.hold([delivery("b")])
    child.start(place, 1.0)
    (entry,) = parent.running()
    assert (entry.hard, entry.is_async) == (0.0, False)


def test_an_id_that_is_too_long_is_found_among_what_is_held() -> None:
    child, parent = pair()
    long = "x" * 400
    (place,) = child.hold([delivery(long)])
    taken = parent.take(only=long)
    assert taken and len(taken) == 1
    assert receipts(taken, "me", [Receipt(long, "me", 7)]) == [Receipt(long, "me", 7)]
    assert receipts(taken, "me", [Receipt(long, "me", 8)]) == []
    assert not child.start(place, 1.0)


def test_a_process_stopped_inside_a_transition_does_not_hang_the_other_and_death_frees_the_lock() -> None:
    fd = posix.shared_file(size_of(4))
    board = Board(4, fd)
    board.hold([delivery("a")])
    code = (
        "import fcntl, sys, time; fcntl.lockf(int(sys.argv[1]), fcntl.LOCK_EX, 1); "
        "print('locked', flush=True); time.sleep(60)"
    )
    process: subprocess.Popen[Any] = subprocess.Popen(
        [sys.executable, "-c", code, str(fd)], pass_fds=[fd], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"locked\n"
        os.kill(process.pid, signal.SIGSTOP)
        assert board.take(timeout=0.02) is None
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert [entry.id for entry in board.take() or ()] == ["a"]


def test_equal_weights_take_turns_and_unequal_ones_their_share() -> None:
    fair = Turns([("a", 1.0), ("b", 1.0)])
    assert [fair.next()[0] for _ in range(4)] in (["a", "b", "a", "b"], ["b", "a", "b", "a"])
    heavy = Turns([("a", 3.0), ("b", 1.0)])
    firsts = [heavy.next()[0] for _ in range(40)]
    assert (firsts.count("a"), firsts.count("b")) == (30, 10)
    assert set(heavy.next()) == {"a", "b"}
