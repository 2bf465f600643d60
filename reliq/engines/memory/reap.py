"""House-keeping: what time alone brings about."""

from __future__ import annotations

from reliq.engines.memory.bury import bury, report
from reliq.engines.memory.claim import drop_expired, next_due, next_expired
from reliq.engines.memory.memory import Memory
from reliq.ports.values import Ended, Moved


class Reaping:
    """One call of `reap`: a budget that its parts share."""

    def __init__(self, memory: Memory, limit: int) -> None:
        self._memory = memory
        self._left = limit
        self._moved: list[Moved] = []
        self._gone: list[str] = []
        self._purged = 0

    def run(self, grace: float) -> Ended:
        self._bury(grace)
        self._expire()
        self._promote()
        self._purge()
        self._memory.messages.drop_tombstones()
        self._memory.forget_graves()
        self._left -= self._memory.records.collect(max(0, self._left))
        return Ended(tuple(self._moved), tuple(self._gone), self._purged, more=self._left <= 0)

    def _bury(self, grace: float) -> None:
        latest = self._memory.messages.now - grace * 1000
        for owner in list(self._memory.owners.values()):
            # Only a clock that was set back leaves a lease with more time than it lasts.
            owner.expires = min(owner.expires, self._memory.messages.now + owner.lease)
            if self._left > 0 and owner.expires < latest:
                taken = bury(self._memory, owner.name, None)
                self._moved += taken
                self._gone.append(owner.name)
                self._left -= max(1, len(taken))

    def _promote(self) -> None:
        for queue in list(self._memory.messages.lines):
            while self._left > 0 and (message := next_due(self._memory, queue)):
                self._memory.messages.promote(message)
                self._left -= 1

    def _expire(self) -> None:
        while self._left > 0 and (message := next_expired(self._memory)):
            drop_expired(self._memory, message)
            self._moved.append(report(message))
            self._left -= 1

    def _purge(self) -> None:
        messages = self._memory.messages
        while self._left > 0 and (message := messages.ended.first()):
            if message.gone is None or message.gone > messages.now:
                break
            messages.forget(message)
            self._purged += 1
            self._left -= 1
