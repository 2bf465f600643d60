"""The app that the demo's workers run: one task per file, and one that only does harm."""

from __future__ import annotations

import os
import signal
from functools import lru_cache
from pathlib import Path

from reliq import Backoff, Reliq, current
from reliq.demo.sources import count_file
from reliq.testing.faults.journal import Journal

JOURNALS = "DEMO_JOURNALS"  # the folder where each process keeps its own journal

app = Reliq("demo", middleware=["once"])


class Hiccup(Exception):
    """A failure made up for the demo; it is gone when the task is tried again."""


@app.task(
    once={"keys": ["path"], "graceful": True},
    retry_on=(Hiccup,),
    backoff=Backoff(base=0.5, factor=1.0, jitter="none"),
)
def count(path: str, trouble: str = "") -> None:
    """Count what is in one source file, and note it in this process's journal.

    trouble  what the demo wants to go wrong at the first run: `hiccup` fails, `crash` kills the process
    """
    run = current()
    journal = _journal(os.getpid())
    journal.note("started", run.id, fence=run.fence, attempt=run.attempt, path=path)
    if trouble == "hiccup" and run.retries == 0:
        journal.note("failed", run.id, fence=run.fence, path=path)
        raise Hiccup(f"{path} could not be counted, for the demo's sake")
    if trouble == "crash" and run.delivery.crashes == 0:
        _die()
    found = count_file(path)
    journal.note("counted", run.id, fence=run.fence, path=path, **found._asdict())


@app.task
def poison(number: int) -> None:
    """Kill the process, each time: after three crashes, the last ones alone, it is quarantined."""
    run = current()
    _journal(os.getpid()).note(
        "started", run.id, fence=run.fence, attempt=run.attempt, path=f"poison {number}"
    )
    _die()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@lru_cache(maxsize=1)
def _journal(pid: int) -> Journal:
    return Journal(Path(os.environ[JOURNALS], f"{pid}.journal"))
