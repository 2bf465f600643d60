from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

from reliq.ports.values import Delivery, Receipt
from reliq.worker import posix
from reliq.worker.board import FINISHED, Board, receipts, size_of
from reliq.worker.fetcher import Turns


def delivery(id: str, fence: int = 7) -> Delivery:
    return Delivery(Receipt(id, "me", fence), b"")


def pair(capacity: int = 8) -> tuple[Board, Board]:
    """The child's and the parent's view, both in this process."""
    fd = posix.shared_file(size_of(capacity))
    return Board(capacity, fd), Board(capacity, os.dup(fd))


def test_what_started_cannot_be_taken_back_and_what_was_taken_back_cannot_start() -> None:
    child, parent = pair()
    one, two = child.hold([delivery("a"), delivery("b")])
    assert child.start(one, 1.0)
    assert [entry.id for entry in parent.take() or ()] == ["b"]
    assert not child.start(two, 2.0)
    assert [(r.id, r.fence, r.started) for r in parent.running()] == [("a", 7, 1.0)]


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
