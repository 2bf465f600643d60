"""What a no-op task notes down: how often it ran in each process, and when the first and last one ended.

One small memory-mapped file per process, so that noting costs a fraction of a microsecond and reading costs the
worker nothing.  The moments are `time.monotonic()`, which all processes of a machine share.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from threading import Lock
from time import monotonic, sleep
from typing import NamedTuple

FOLDER = "BENCH_TALLY"
TOGETHER = "BENCH_TOGETHER"  # so many processes wait for each other at their first task
_COUNT, _FIRST, _LAST = 0, 1, 2


class Share(NamedTuple):
    """What one process has done."""

    runs: int
    first: float
    last: float


class Tally:
    """This process's notes; opened at the first hit."""

    def __init__(self) -> None:
        self._cells: memoryview[float] | None = None
        self._lock = Lock()  # several threads may share the process

    def hit(self) -> None:
        with self._lock:
            cells = self._cells
            if cells is None:
                self._cells = cells = _board(Path(os.environ[FOLDER], f"{os.getpid()}.tally"), 3)
                _await_others(int(os.environ.get(TOGETHER, "1")))
                cells[_FIRST] = monotonic()
            cells[_LAST] = monotonic()
            cells[_COUNT] += 1


class Stamps:
    """A moment for each of `size` numbered samples; 0.0 until it has come."""

    def __init__(self, path: Path, size: int) -> None:
        self.cells = _board(path, size)

    def stamp(self, index: int) -> None:
        self.cells[index] = monotonic()


def shares(folder: Path) -> list[Share]:
    """What each process has done so far."""
    return [_read(path) for path in sorted(folder.glob("*.tally"))]


def rate(folder: Path) -> float:
    """Tasks per second from the first end to the last end, all processes together."""
    done = shares(folder)
    return (sum(s.runs for s in done) - 1) / (max(s.last for s in done) - min(s.first for s in done))


def await_count(folder: Path, expected: int, timeout: float) -> None:
    """Wait until `expected` tasks have ended; `TimeoutError` says how many had."""
    until = monotonic() + timeout
    while (count := sum(s.runs for s in shares(folder))) < expected:
        if monotonic() > until:
            raise TimeoutError(f"{count} of {expected} tasks had ended after {timeout:.0f} s")
        sleep(0.02)


def _board(path: Path, size: int) -> memoryview[float]:
    with open(path, "a+b") as file:
        if file.seek(0, os.SEEK_END) < size * 8:
            file.truncate(size * 8)
        return memoryview(mmap.mmap(file.fileno(), size * 8)).cast("d")


def _read(path: Path) -> Share:
    data = path.read_bytes()
    if len(data) < 24:
        return Share(0, 0.0, 0.0)
    count, first, last = memoryview(data).cast("d")
    return Share(int(count), first, last)


def _await_others(number: int) -> None:
    folder, until = Path(os.environ[FOLDER]), monotonic() + 20
    while len(list(folder.glob("*.tally"))) < number and monotonic() < until:
        sleep(0.001)
