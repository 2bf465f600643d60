"""Keeps the owners of this worker alive: registers them before they may claim, renews them, hears who must stop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping

from reliq.errors import BrokerError
from reliq.ports.broker import Broker
from reliq.worker import posix
from reliq.worker.outage import Outage

logger = logging.getLogger("reliq.worker")

#: Seconds in which a live worker is heard again after an outage: a call that hangs until the deadline of the port (5),
#: the pause before the next one (at most 1), and that one.
HEARD_AGAIN = 7.0


class Keeper(threading.Thread):
    """A thread of the parent, which no task's GIL can starve.

    Owners are renewed `every` so many seconds, those that hold nothing `idle_every` so many: what is asked to stop is
    heard of by renewals.  Until contact has been unbroken for long enough to judge others, all are renewed often.

    Time is judged on a clock that counts suspension, and no sleep is longer than a second of the other one: a worker
    that was suspended renews at once when it wakes and finds out whether it is dead.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        lease: float,
        every: float,
        idle_every: float,
        registered: Callable[[str], None],
        dead: Callable[[str], None],
        stop: Callable[[str, tuple[str, ...]], None],
    ) -> None:
        super().__init__(name="reliq-keeper", daemon=True)
        self._broker = broker
        self._lease = lease
        self._every = every
        self._idle_every = idle_every
        self._on_registered = registered
        self._on_dead = dead
        self._on_stop = stop
        self._outage = Outage("keeper")
        self._lock = threading.Lock()
        self._new: dict[str, Mapping[str, str]] = {}
        self._owners: dict[str, float] = {}  # owner -> when it was last renewed
        self._busy: set[str] = set()  # owners that hold something
        self._asked: set[str] = set()  # owners of which something was asked to stop
        self._wake = threading.Event()
        self._ended = False
        self._outlived = False  # an outage
        self._contact_since: float | None = None
        self._last_contact = 0.0
        self._expected = 0.0  # when the broker is to answer again

    def add(self, owner: str, about: Mapping[str, str]) -> None:
        """Register an owner and keep it; `registered(owner)` is called when it may claim."""
        with self._lock:
            self._new[owner] = about
        self._wake.set()

    def drop(self, owner: str) -> None:
        """Its process is dead: no renewal must make it look alive."""
        with self._lock:
            self._new.pop(owner, None)
            self._owners.pop(owner, None)
            self._asked.discard(owner)
            self._busy.discard(owner)

    def note(self, owner: str, *, busy: bool) -> None:
        """Whether it holds anything; a change is heeded within a second."""
        (self._busy.add if busy else self._busy.discard)(owner)

    def end(self) -> None:
        self._ended = True
        self._wake.set()

    def unbroken(self) -> float:
        """For how many seconds every call has reached the broker; 0.0 during an outage."""
        since, now = self._contact_since, posix.boottime()
        return 0.0 if since is None or self._is_late(now) else now - since

    def patience(self) -> float:
        """For how many seconds contact must be unbroken until every live worker has surely renewed."""
        return max(2 * self._every, HEARD_AGAIN if self._outlived else 0.0)

    def pace(self) -> float:
        """How often, in seconds, this process hears from the broker by its renewals."""
        return min((self._interval(owner) for owner, _ in self._snapshot()), default=self._every)

    def silence(self) -> float:
        """Seconds since the broker last answered."""
        return posix.boottime() - self._last_contact if self._last_contact else float("inf")

    def run(self) -> None:
        while not self._ended:
            try:
                pause = self._round()
            except BrokerError as error:
                self._contact_since = None
                pause = self._outage.failed(error)
            except Exception as error:
                logger.exception("the keeper failed; trying again")
                pause = self._outage.failed(error)
            self._wake.wait(min(max(pause, 0.0), 1.0))
            self._wake.clear()

    def _round(self) -> float:
        """Register and renew what is due; seconds until the next is."""
        for owner, about in self._take_new():
            self._broker.register(owner, self._lease, about)
            self._reached()
            with self._lock:
                if self._new.pop(owner, None) is None:
                    continue
                self._owners[owner] = posix.boottime()
            self._on_registered(owner)
        for owner, renewed in self._snapshot():
            if posix.boottime() >= renewed + self._interval(owner):
                self._renew(owner)
        upcoming = [renewed + self._interval(owner) for owner, renewed in self._snapshot()]
        if not upcoming:
            return 1.0
        self._expected = max(self._expected, min(upcoming))
        return min(upcoming) - posix.boottime()

    def _interval(self, owner: str) -> float:
        calm = owner not in self._busy and self.unbroken() > self.patience()
        return self._idle_every if calm else self._every

    def _renew(self, owner: str) -> None:
        renewal = self._broker.renew(owner, self._lease)
        self._reached()
        with self._lock:
            if owner not in self._owners:
                return
            if renewal.live:
                self._owners[owner] = posix.boottime()
            else:
                del self._owners[owner]
        if not renewal.live:
            self._on_dead(owner)
        elif renewal.stop or owner in self._asked:  # also when there are none any more
            (self._asked.add if renewal.stop else self._asked.discard)(owner)
            self._on_stop(owner, renewal.stop)

    def _reached(self) -> None:
        now = posix.boottime()
        over = self._outage.over()
        self._outlived |= over
        if over or self._contact_since is None or self._is_late(now):
            # Also after a suspension, and after a call that hung and was answered in the end: others were not heard
            # for as long, and their renewals may be on their way.
            self._contact_since = now
        self._last_contact = now
        self._expected = now + self._every

    def _is_late(self, now: float) -> bool:
        """Whether a call of ours may hang, or has."""
        return now > self._expected + self._every + 1

    def _take_new(self) -> list[tuple[str, Mapping[str, str]]]:
        with self._lock:
            return list(self._new.items())

    def _snapshot(self) -> list[tuple[str, float]]:
        with self._lock:
            return list(self._owners.items())
