"""Time as a part one can put in: the system's, or one that moves when a test says so."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from.

    `now_ms` is UTC wall time in integer milliseconds; it may jump.  `monotonic` is seconds from an arbitrary start; it
    never goes back, and it goes on while the machine is suspended, so that a lease judged by it is really over.
    """

    def now_ms(self) -> int: ...

    def monotonic(self) -> float: ...


class SystemClock:
    """The machine's clocks; CLOCK_BOOTTIME where there is one (Linux's CLOCK_MONOTONIC stops during a suspend)."""

    __slots__ = ()

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    if hasattr(time, "CLOCK_BOOTTIME"):

        def monotonic(self) -> float:
            return time.clock_gettime(time.CLOCK_BOOTTIME)

    else:

        def monotonic(self) -> float:
            return time.monotonic()


class VirtualClock:
    """A clock that stands still until it is advanced; safe to share between threads.

    start  the first `now_ms`; by default 2026-01-01T00:00:00Z.  `monotonic` starts at 0.
    """

    def __init__(self, start: int = 1_767_225_600_000) -> None:
        self._start = start
        self._elapsed_us = 0
        self._lock = threading.Lock()

    def now_ms(self) -> int:
        return self._start + self._elapsed_us // 1000

    def monotonic(self) -> float:
        return self._elapsed_us / 1_000_000

    def advance(self, seconds: float) -> None:
        """Move both clocks on; `ValueError` for a step back (see `jump`)."""
        if not seconds >= 0:
            raise ValueError(f"Cannot advance by {seconds} s; jump() moves the wall clock back")
        with self._lock:
            self._elapsed_us += round(seconds * 1_000_000)

    def jump(self, seconds: float) -> None:
        """Set the wall clock on or back, as an operator would; `monotonic` does not notice."""
        with self._lock:
            self._start += round(seconds * 1000)
