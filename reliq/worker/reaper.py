"""House-keeping of the parent: the sweep for what others left behind, and the errands that must not be forgotten."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from reliq.errors import BrokerError, BrokerFull, BrokerUnavailable
from reliq.ports.broker import Broker
from reliq.ports.values import Ended
from reliq.worker.keeper import Keeper
from reliq.worker.outage import Outage

logger = logging.getLogger("reliq.worker")


class Reaper(threading.Thread):
    """Sweeps every few seconds, but never before two renewal intervals of unbroken contact with the broker.

    After an outage it waits for the slowest to be heard again as well: an outage reaps nobody.  Where the broker can,
    all workers share the sweeps.
    """

    def __init__(self, broker: Broker, keeper: Keeper, *, every: float, renewal: float) -> None:
        super().__init__(name="reliq-reaper", daemon=True)
        self._broker = broker
        self._keeper = keeper
        self._every = every
        self._renewal = renewal
        self._ended = threading.Event()

    def end(self) -> None:
        self._ended.set()

    def run(self) -> None:
        pause = 2 * self._renewal
        while not self._ended.wait(pause):
            patience = self._keeper.patience() - self._keeper.unbroken()
            if patience > 0:
                pause = min(max(patience, 0.05), self._every)
                continue
            pause = self._every
            try:
                pause = min(self.sweep(), self._every)  # it may have got busy
            except BrokerError as error:
                logger.debug("the sweep did not reach the broker: %s", error)  # the keeper has said so
            except Exception:
                logger.exception("the sweep failed; trying again")

    def sweep(self) -> float:
        """Reap all there is; in how many seconds to come again."""
        broker: Any = self._broker
        if self._keeper.unbroken() <= 0:
            return self._every
        ended: Ended
        pause: float = self._every
        if broker.capabilities.sweeps:
            # Renewals tell of the others' sweeps: who renews more seldom waits as much longer before it steps in.
            every = self._every * self._keeper.pace() / self._renewal
            ended, pause = broker.sweep(every=every, grace=self._renewal)
        else:
            ended = broker.reap(grace=self._renewal)
        self._say(ended)
        while ended.more and not self._ended.is_set() and self._keeper.unbroken() > 0:
            ended = broker.reap(grace=self._renewal)
            self._say(ended)
        return pause

    def _say(self, ended: Ended) -> None:
        for owner in ended.owners:
            logger.warning("owner %s is dead: what it held is taken back", owner, extra={"worker": owner})
        tell(ended)


class Errands(threading.Thread):
    """Calls to the broker that must be made in the end: burials and give-backs, in order, through outages."""

    def __init__(self, done: Callable[[], object]) -> None:
        """`done()` is called when none is left: a worker that stops waits for that."""
        super().__init__(name="reliq-errands", daemon=True)
        self._done = done
        self._queue: queue.SimpleQueue[tuple[str, Callable[[], object]] | None] = queue.SimpleQueue()
        self._outage = Outage("errands")
        self._open = 0
        self._lock = threading.Lock()

    def add(self, what: str, call: Callable[[], object]) -> None:
        with self._lock:
            self._open += 1
        self._queue.put((what, call))

    @property
    def idle(self) -> bool:
        return self._open == 0

    def end(self) -> None:
        self._queue.put(None)

    def run(self) -> None:
        while (errand := self._queue.get()) is not None:
            self._do(*errand)
            with self._lock:
                self._open -= 1
            if self.idle:
                self._done()

    def _do(self, what: str, call: Callable[[], object]) -> None:
        while True:
            try:
                call()
                self._outage.over()
                return
            except (BrokerUnavailable, BrokerFull) as error:
                time.sleep(self._outage.failed(error))
            except Exception:
                logger.exception("%s failed; the lease will end it", what)
                return


def tell(ended: Ended) -> None:
    """One line for each message that the broker ended or put off."""
    for moved in ended.moved:
        if moved.state == "ready":
            continue
        logger.info(
            "message %s is %s: %s",
            moved.id,
            moved.state,
            moved.reason,
            extra={"id": moved.id, "task": moved.task, "queue": moved.queue, "reason": moved.reason},
        )
