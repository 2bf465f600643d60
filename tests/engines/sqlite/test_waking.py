"""Idle workers hear of work, also after somebody has tidied up or descriptors ran out."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from reliq.engines.sqlite import SqliteEngine
from reliq.ports.values import Publication

Make = Callable[..., Publication]
Opened = Callable[..., SqliteEngine]


def heard_after(engine: SqliteEngine, other: SqliteEngine, seq: int, publication: Make) -> float:
    """Seconds from a publish to the end of the blocked claim that it wakes."""
    ended: list[float] = []

    def idle() -> None:
        assert engine.claim("owner", ["q"], limit=1, seq=seq, wait=1.0).deliveries
        ended.append(time.monotonic())

    idler = threading.Thread(target=idle)
    idler.start()
    deadline = time.monotonic() + 10
    while not other._link.read(lambda execute: execute("SELECT count(*) FROM waiter").fetchone()[0]):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    begun = time.monotonic()
    other.publish([publication()])
    idler.join(10)
    return ended[0] - begun


def test_a_socket_that_was_tidied_away_is_made_again(
    engine: SqliteEngine, opened: Opened, publication: Make
) -> None:
    engine.register("owner", 30)
    other = opened()
    heard_after(engine, other, 1, publication)
    shutil.rmtree(engine._waking._folder)
    assert heard_after(engine, other, 2, publication) < 0.5  # else each wake is lost, and costs a second


def test_a_claim_without_a_descriptor_for_a_socket_still_ends(
    engine: SqliteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    engine.register("owner", 30)
    monkeypatch.setattr(socket, "socket", refuse)
    assert not engine.claim("owner", ["q"], limit=1, seq=1, wait=0.05).deliveries


@pytest.mark.parametrize("number", [errno.ENOBUFS, errno.EACCES, errno.EMFILE])
def test_a_wake_that_cannot_be_sent_does_not_end_a_living_socket(
    engine: SqliteEngine, opened: Opened, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    engine.register("owner", 30)
    engine.claim("owner", ["q"], limit=1, seq=1, wait=0.01)
    folder = engine._waking._folder
    (name,) = os.listdir(folder)
    other = opened()
    monkeypatch.setattr(socket, "socket", _Failing)
    _Failing.number = number
    other._waking.send(str(folder / name))
    assert os.listdir(folder) == [name]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_a_call_cut_off_by_a_signal_keeps_no_descriptor(engine: SqliteEngine) -> None:
    engine.register("owner", 30)
    engine._waking.call(1.0)  # the exception came before the `try` that releases it
    before = len(os.listdir("/dev/fd"))
    for _ in range(5):
        engine._waking.call(1.0)
    assert len(os.listdir("/dev/fd")) == before
    assert not engine._waking._busy


class _Failing:
    number = 0

    def __init__(self, *_: Any) -> None:
        pass

    def setblocking(self, _: bool) -> None:
        pass

    def sendto(self, *_: Any) -> None:
        raise OSError(self.number, os.strerror(self.number))

    def close(self) -> None:
        pass
