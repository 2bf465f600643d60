"""The app whose workers the faults are done to."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import time
from functools import lru_cache

from reliq import Observer, Outcome, Reliq, RunContext, Snooze, current
from reliq.testing.faults import Journal

JOURNAL = "RELIQ_TEST_JOURNAL"


@lru_cache(maxsize=1)
def journal() -> Journal:
    return Journal(os.environ[JOURNAL])


class Notes(Observer):
    """Notes what became of every settlement, in the process that made it."""

    def settled(self, ctx: RunContext | None, ending: Outcome) -> None:
        journal().note("settled", ending.id, answer=ending.answer, state=ending.state)


app = Reliq("faults", middleware=[Notes(), "once"], max_crashes=3)


class Broken(Exception):
    """The error of a task that is told to fail."""


def _begin() -> None:
    run = current()
    journal().note("started", run.id, fence=run.fence, attempt=run.attempt)


def _end() -> None:
    journal().note("ended", current().id)


@app.task(max_crashes=20)
def work(number: int, seconds: float = 0.0) -> int:
    """Take a while.  Killed often by the tests, it must not be quarantined for that."""
    _begin()
    time.sleep(seconds)
    _end()
    return number


@app.task(max_crashes=20)
async def nap(number: int, seconds: float = 0.0) -> int:
    _begin()
    await asyncio.sleep(seconds)
    _end()
    return number


@app.task(once={"keys": ["key"], "graceful": True})
def once(key: str, seconds: float) -> None:
    _begin()
    time.sleep(seconds)
    _end()


@app.task(retry_on=(Broken,), max_retries=3)
def shaky(number: int, share: float) -> None:
    """Fail for a share of the numbers."""
    _begin()
    if number % 1000 < share * 1000:
        raise Broken(f"{number} is told to fail")
    _end()


@app.task(result_ttl=1, dead_letter_ttl=1, max_retries=0)
def coin(number: int) -> int:
    """Every other one fails; nothing is noted, and little kept."""
    if number % 2:
        raise Broken(f"{number} is odd")
    return number


@app.task(max_snooze=60)
def sleepy(number: int) -> None:
    _begin()
    if current().delivery.snoozes < 2:
        raise Snooze(0.2)
    _end()


@app.task(max_retries=0)
def poison(how: str) -> None:
    """Take the process down: `exit`, `segv`, or `kill`, which is what the kernel does when memory runs out."""
    _begin()
    if how == "exit":
        os._exit(1)
    if how == "segv":
        ctypes.string_at(0)
    os.kill(os.getpid(), signal.SIGKILL)
