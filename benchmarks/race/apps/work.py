"""What the tasks of every side do, and where a side finds its server.  Only the standard library is imported here."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from time import sleep, thread_time
from typing import Any

from benchmarks.race.apps.notes import open_journal
from benchmarks.tally import FOLDER, Stamps, Tally

HOST = "127.0.0.1"
PORT = int(os.environ.get("BENCH_PORT", "6379"))
URL = f"redis://{HOST}:{PORT}/0"
RESULTS = os.environ.get("BENCH_RESULTS") == "on"  # keep what the tasks return
BUSY = "busy"  # the other queue
SAMPLES = 20_000  # room for so many stamps
BURN = 0.001  # seconds of processor time

_notes = Tally()


def no_op() -> int:
    _notes.hit()
    return 1


def kilobyte(text: str) -> int:
    """A no-op that was sent a kilobyte."""
    _notes.hit()
    return 1


def burn() -> int:
    """Use a millisecond of processor time, of this thread: being interrupted does not count as work."""
    until = thread_time() + BURN
    while thread_time() < until:
        pass
    _notes.hit()
    return 1


def stamp(index: int) -> int:
    """Note the moment at which this sample began."""
    open_stamps().stamp(index)
    return 1


def journal(key: str, seconds: float) -> int:
    """Take a few milliseconds, noting the start and the end."""
    notes = open_journal()
    notes.note("started", key)
    sleep(seconds)
    notes.note("ended", key)
    return 1


TASKS: dict[str, Callable[..., Any]] = {
    "no_op": no_op,
    "kilobyte": kilobyte,
    "burn": burn,
    "stamp": stamp,
    "journal": journal,
}
ARGUMENTS: dict[str, tuple[object, ...]] = {"no_op": (), "kilobyte": ("x" * 1024,), "burn": ()}


@lru_cache(maxsize=1)
def open_stamps() -> Stamps:
    return Stamps(Path(os.environ[FOLDER], "stamps"), SAMPLES)
