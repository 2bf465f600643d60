"""Ends the claim that blocks, when the worker needs its thread for something else."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue

from reliq.ports.broker import Broker

logger = logging.getLogger("reliq.worker")

AGAIN = 0.01  # seconds; a wake that came before the claim had begun to block did nothing


class Waker(threading.Thread):
    """A thread of its own: a signal handler may not call the broker, which the thread it interrupted may be using."""

    def __init__(self, broker: Broker, owner: str) -> None:
        super().__init__(name="reliq-waker", daemon=True)
        self._broker = broker
        self._owner = owner
        self._asked: SimpleQueue[None] = SimpleQueue()
        self._blocked = False
        self._claims = 0

    @contextmanager
    def blocking(self) -> Iterator[None]:
        """Around a claim; whoever calls `wake` afterwards ends it.  By one thread at a time."""
        self._claims += 1
        self._blocked = True
        try:
            yield
        finally:
            self._blocked = False

    def wake(self) -> None:
        """End the claim that is under way, if there is one.  Safe in a signal handler: `SimpleQueue.put` is."""
        self._asked.put(None)

    def run(self) -> None:
        while True:
            self._asked.get()
            claim = self._claims
            while self._blocked and self._claims == claim:
                try:
                    self._broker.wake(self._owner)
                except Exception:
                    logger.exception("waking a claim failed; it ends by itself within seconds")
                    break
                time.sleep(AGAIN)
