"""What one memory engine, or several that share a name, hold in common."""

from __future__ import annotations

import threading

from reliq.engines.memory.messages import Messages
from reliq.engines.memory.owner import Owner
from reliq.engines.memory.records import Indexes, Records
from reliq.policy.clock import Clock

GRAVE = 60_000  # ms


class Memory:
    """The data and the one lock over it.

    Every public call of the engine is one step under the lock, so a step sees and leaves whole states only.  Two
    conditions wake the blocked: `work` when a message began to wait, `ends` when one ended.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.messages = Messages()
        self.records = Records(self.messages)
        self.indexes = Indexes()
        self.owners: dict[str, Owner] = {}
        self.graves: dict[str, int] = {}  # owners that are gone, and when; oldest first
        lock = threading.RLock()
        self.lock = lock
        self.work = threading.Condition(lock)
        self.ends = threading.Condition(lock)
        self._seen = (0, 0)

    def begin(self) -> None:
        """A step begins: everything in it happens at one moment."""
        self.messages.now = self.clock.now_ms()

    def forget_graves(self) -> None:
        """An owner is known to be gone for a minute: longer than any repeated call to register it can be under way."""
        for name, moment in list(self.graves.items()):
            if moment > self.messages.now - GRAVE:
                break
            del self.graves[name]

    def wake(self) -> None:
        """A step ended: wake those who wait for what it did."""
        waits, ends = self._seen
        messages = self.messages
        if messages.waits != waits:
            self.work.notify_all()
        if (ended := messages.ends) != ends:
            self.ends.notify_all()
        self._seen = (messages.waits, ended)
