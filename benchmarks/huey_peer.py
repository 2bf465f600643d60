"""The peer: huey's SqliteHuey as it is fastest - no fsync, no results, one worker thread, at most once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from time import monotonic

from huey import SqliteHuey  # type: ignore[import-untyped]

from benchmarks import tally

_notes = tally.Tally()


def no_op() -> None:
    _notes.hit()


def open_huey(path: Path) -> SqliteHuey:
    return SqliteHuey("bench", filename=str(path), fsync=False, results=False)


def publish(path: Path, number: int) -> float:
    """Publish one by one; messages per second."""
    task = open_huey(path).task(name="no_op")(no_op)
    begun = monotonic()
    for _ in range(number):
        task()
    return number / (monotonic() - begun)


def drain(path: Path, number: int, folder: Path) -> float:
    """Messages per second from the first end to the last, in a consumer process of its own."""
    folder.mkdir()
    environment = os.environ | {tally.FOLDER: str(folder)}
    consumer = f"from benchmarks import huey_peer; huey_peer.consume({str(path)!r}, {number})"
    subprocess.run([sys.executable, "-c", consumer], env=environment, check=True, timeout=300)
    return tally.rate(folder)


def consume(path: str, number: int) -> None:
    """The consumer's process: ends when `number` tasks have run."""
    huey = open_huey(Path(path))
    huey.task(name="no_op")(no_op)
    consumer = huey.create_consumer(workers=1, periodic=False, check_worker_health=False)
    consumer.start()
    tally.await_count(Path(os.environ[tally.FOLDER]), number, 300)
    consumer.stop(graceful=True)
