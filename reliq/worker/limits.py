"""Soft limits and requests to stop: how a running task is interrupted.

In the main thread a signal handler raises, which also ends a blocking call.  In another thread only Python code can be
reached.  Coroutines are cancelled by the loop (`reliq.worker.loop`).  Hard limits are the parent's.
"""

from __future__ import annotations

import ctypes
import logging
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any, Protocol

from reliq.errors import SoftTimeLimitExceeded, TaskCancelled
from reliq.ports.values import Settlement

logger = logging.getLogger("reliq.worker")

NEVER = float("inf")
CANCEL_SIGNAL = getattr(signal, "SIGUSR1", None)


def too_slow(soft: float) -> SoftTimeLimitExceeded:
    return SoftTimeLimitExceeded(f"soft time limit of {soft:g} s")


class Interrupts(Protocol):
    """Runs a job so that it can be interrupted."""

    def run(self, job: Any) -> Settlement: ...

    def guard(self, job: Any) -> AbstractContextManager[None]:
        """Around the user's code of a job with a soft limit; the runner enters it."""
        ...

    def cancel(self, id: str) -> None:
        """Interrupt the job with this id if it is running here."""
        ...

    def clear(self) -> None:
        """Between two batches: nothing that a task left behind may interrupt the next one, or the worker."""
        ...


class SignalInterrupts:
    """One slot in the main thread: a timer signal at the soft limit, another one when it should stop."""

    def __init__(self, runner: Any) -> None:
        self._runner = runner
        self._job: Any = None
        self._cancelled: str | None = None
        signal.signal(signal.SIGALRM, self._on_alarm)
        if CANCEL_SIGNAL is not None:
            signal.signal(CANCEL_SIGNAL, self._on_cancel)

    def run(self, job: Any) -> Settlement:
        self._job = job
        try:
            return self._runner.run(job)  # type: ignore[no-any-return]
        finally:
            self._job = None

    @contextmanager
    def guard(self, job: Any) -> Iterator[None]:
        signal.signal(
            signal.SIGALRM, self._on_alarm
        )  # a task before this one may have used the signal itself
        signal.setitimer(signal.ITIMER_REAL, max(job.soft, 1e-6))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)

    def cancel(self, id: str) -> None:
        """Called by the control thread: the signal interrupts the main thread's system call, the handler raises."""
        job = self._job
        if job is not None and job.delivery.receipt.id == id and CANCEL_SIGNAL is not None:
            self._cancelled = id
            signal.pthread_kill(_main_thread(), CANCEL_SIGNAL)

    def clear(self) -> None:
        if signal.getitimer(signal.ITIMER_REAL)[0]:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            logger.warning("a task left an alarm that had still to ring; it is turned off")

    def _on_alarm(self, signum: int, frame: FrameType | None) -> None:
        job = self._job
        if job is not None and job.soft is not None and self._runner.current is job:
            raise too_slow(job.soft)

    def _on_cancel(self, signum: int, frame: FrameType | None) -> None:
        job = self._job
        if job is not None and self._runner.current is job and job.delivery.receipt.id == self._cancelled:
            self._cancelled = None
            raise TaskCancelled()


class ThreadInterrupts:
    """Several slots: the interpreter raises in the slot's thread as soon as that runs Python code."""

    def __init__(self, runner: Any) -> None:
        self._runner = runner
        self._lock = threading.Lock()
        self._running: dict[int, tuple[Any, float]] = {}  # thread -> job, when its soft limit is reached
        self._raised: set[int] = set()

    def run(self, job: Any) -> Settlement:
        me = threading.get_ident()
        self._running[me] = (job, NEVER)
        try:
            return self._runner.run(job)  # type: ignore[no-any-return]
        finally:
            with self._lock:
                del self._running[me]
                if me in self._raised:  # it may have come too late to be raised inside the task
                    self._raised.discard(me)
                    _raise_in(me, None)

    @contextmanager
    def guard(self, job: Any) -> Iterator[None]:
        me = threading.get_ident()
        with self._lock:
            self._running[me] = (job, time.monotonic() + job.soft)
        try:
            yield
        finally:
            with self._lock:
                self._running[me] = (job, NEVER)

    def tick(self) -> None:
        """Called every few milliseconds by the flusher."""
        if not self._running:
            return
        now = time.monotonic()
        with self._lock:
            for thread, (job, due) in list(self._running.items()):
                if now >= due:
                    self._running[thread] = (job, NEVER)
                    self._interrupt(thread, SoftTimeLimitExceeded)

    def cancel(self, id: str) -> None:
        with self._lock:
            for thread, (job, _) in list(self._running.items()):
                if job.delivery.receipt.id == id:
                    self._interrupt(thread, TaskCancelled)

    def clear(self) -> None:
        pass  # `run` has cleared what it raised; alarms ring in the main thread only

    def _interrupt(self, thread: int, error: type[BaseException]) -> None:
        self._raised.add(thread)
        _raise_in(thread, error)


def interrupts(runner: Any, *, threads: int) -> SignalInterrupts | ThreadInterrupts:
    if threads == 1 and sys.platform != "win32" and threading.current_thread() is threading.main_thread():
        return SignalInterrupts(runner)
    return ThreadInterrupts(runner)


def _main_thread() -> int:
    ident = threading.main_thread().ident
    assert ident is not None
    return ident


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), None if error is None else ctypes.py_object(error)
    )
