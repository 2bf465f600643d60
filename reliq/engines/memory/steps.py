"""Steps and waits: how the calls of many threads are put in a row, and how one blocks."""

from __future__ import annotations

import os
import time
from threading import Condition
from types import TracebackType

from reliq.engines.memory.memory import Memory
from reliq.errors import BrokerUnavailable, ForkedConnection
from reliq.policy.clock import SystemClock

LOOK_EVERY = 0.005  # seconds; how often a wait looks at a clock that does not run by itself


class Steps:
    """`with self._step() as memory:` is one step: alone under the lock, at one moment, waking whom it concerns."""

    def __init__(self, memory: Memory, url: str) -> None:
        self.url = url
        self._memory = memory
        self._pid = os.getpid()
        self._closed = False
        self._runs = isinstance(memory.clock, SystemClock)

    @property
    def foreign(self) -> bool:
        """Whether this process is a fork of the one that opened the engine."""
        return os.getpid() != self._pid

    def _step(self) -> Steps:
        # A fork may have been made while another thread had the lock: look before taking it.
        if self.foreign:
            raise ForkedConnection(f"Process {self._pid} opened {self.url}; a fork must connect for itself")
        return self

    def __enter__(self) -> Memory:
        self._memory.lock.acquire()
        if self._closed:
            self._memory.lock.release()
            raise BrokerUnavailable(f"{self.url} was closed; connect again")
        self._memory.begin()
        return self._memory

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._memory.wake()
        self._memory.lock.release()

    def _deadline(self, seconds: float) -> Deadline:
        return Deadline(self._memory, seconds, by_itself=self._runs)

    def close(self) -> None:
        if not self.foreign:
            with self._memory.lock:
                self._closed = True
                self._memory.work.notify_all()
                self._memory.ends.notify_all()


class Deadline:
    """The end of a blocking call by the engine's clock; and by the machine's, lest a still clock hang it."""

    def __init__(self, memory: Memory, seconds: float, *, by_itself: bool) -> None:
        self._memory = memory
        self._end = memory.clock.monotonic() + seconds
        self._real_end = time.monotonic() + seconds
        self._by_itself = by_itself

    def wait(self, condition: Condition, until: int | None = None) -> bool:
        """Sleep until notified, or until the moment `until` (ms UTC); False: the time is over.

        The lock is free meanwhile; afterwards a new step has begun.
        """
        left = min(self._end - self._memory.clock.monotonic(), self._real_end - time.monotonic())
        if left <= 0:
            return False
        if until is not None:
            left = min(left, max(0.0, (until - self._memory.messages.now) / 1000))
        self._memory.wake()
        condition.wait(left if self._by_itself else min(left, LOOK_EVERY))
        self._memory.begin()
        return True
