"""Finished tasks on their way to the broker.

Settlements ride with the next claim.  What waits too long because a task runs long is settled by the flusher thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec

from reliq.errors import BrokerFull, BrokerUnavailable
from reliq.policy.decide import storable, text_of
from reliq.ports.broker import Broker
from reliq.ports.values import Delivery, ErrorInfo, Settled, Settlement
from reliq.worker.board import Board
from reliq.worker.outage import Outage

logger = logging.getLogger("reliq.worker")

TICK = 0.02
AGAIN = 10.0  # seconds until a settlement is tried again that the broker has refused in every form
_UNSETTLED = "the verdict could not be stored"
_MOST = 500  # characters of the broker's error in the reason


#: A settlement, what was kept of its run (`Job.kept`; None: there was none, or nobody is told), its place on the board.
Finished: TypeAlias = tuple[Settlement, Any, int]


class Settler:
    """The queue of finished work; any thread may add, take and settle."""

    def __init__(self, broker: Broker, runner: Any, board: Board) -> None:
        self._broker = broker
        self._runner = runner
        self._board = board
        self._pending: deque[Finished] = deque()
        self._flushing = threading.Lock()
        self._outage = Outage("settler")
        self._retry_at = 0.0
        self._refused: list[Finished] = []
        self._refused_until = 0.0
        self.add = self._pending.append
        self.taken = 0  # how often something was taken: the flusher's sign that nobody is stuck
        self.settled = 0

    def __len__(self) -> int:
        return len(self._pending)

    def take(self) -> list[Finished]:
        """All that is finished and not yet on its way."""
        self.taken += 1
        pending = self._pending
        items = []
        try:
            while True:
                items.append(pending.popleft())
        except IndexError:
            return items

    def put_back(self, items: Sequence[Finished]) -> None:
        """The broker could not be reached: these are still to be settled."""
        self._pending.extendleft(reversed(items))

    def answered(self, items: Sequence[Finished], answers: Sequence[Settled]) -> None:
        """The broker has heard these; tell the runner, free the board."""
        told, free = self._runner.settled, self._board.free
        for (settlement, job, index), answer in zip(items, answers, strict=True):
            if answer.status == "stale":
                logger.warning(
                    "settlement of %s refused: this worker no longer holds it",
                    answer.id,
                    extra={"event": "stale", "id": answer.id},
                )
            if job is not None and (type(job) is not Delivery or answer.status != "applied"):
                try:
                    told(job, answer, settlement)
                except Exception:
                    logger.exception("telling the end of %s failed", answer.id)
            free(index)
        self.settled += len(items)

    def flush(self) -> bool:
        """Settle what is finished now; False when the broker could not be reached."""
        with self._flushing:
            items = self.take()
            if not items:
                return True
            try:
                answers = self._broker.settle([settlement for settlement, _, _ in items])
            except (BrokerUnavailable, BrokerFull) as error:
                self.put_back(items)
                self._retry_at = time.monotonic() + self._outage.failed(error)
                return False
            except Exception:
                logger.exception("settling %d messages together failed; settling them one by one", len(items))
                self.apart(items)
                return True
            self._outage.over()
            self.answered(items, answers)
            return True

    def apart(self, items: Sequence[Finished]) -> None:
        """Settle one by one, after an error that is not an outage; what cannot be settled as it is fails.

        What the broker refuses even then stays leased, so that nobody else runs it, and is tried again.
        """
        for item in items:
            wanted, job, place = item
            settlement = wanted
            for unsettled in (_failed_because, _failed, None):
                try:
                    self.answered([(settlement, job, place)], self._broker.settle([settlement]))
                    break
                except (BrokerUnavailable, BrokerFull):
                    self.put_back([item])
                    break
                except Exception as error:
                    logger.exception("settlement of %s failed", settlement.receipt.id)
                    if unsettled is not None:
                        settlement = unsettled(wanted, error)
            else:
                self._refused.append(item)
                self._refused_until = time.monotonic() + AGAIN
                logger.error(
                    "%s has run, but the broker takes no end of it; trying again every %g s",
                    wanted.receipt.id,
                    AGAIN,
                    extra={"event": "unsettled", "id": wanted.receipt.id},
                )

    def try_refused(self) -> None:
        """Once more what the broker has refused in every form, if it is time."""
        if self._refused and time.monotonic() >= self._refused_until:
            items, self._refused = self._refused, []
            self.apart(items)

    def flush_until(self, deadline: float) -> bool:
        """Settle everything, through outages, until `deadline` (monotonic)."""
        while not self.flush() or self._pending:  # a flush waits for the one that the flusher is making
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(left, 0.1))
        return True

    @property
    def has_refused(self) -> bool:
        return bool(self._refused)

    @property
    def may_try(self) -> bool:
        return time.monotonic() >= self._retry_at


class Flusher(threading.Thread):
    """Settles what is finished when nobody took it for two ticks: a task runs long, or all slots are idle.

    It sleeps without a time-out while there is nothing in hand, so an idle worker pays nothing.
    """

    def __init__(self, settler: Settler, board: Board) -> None:
        super().__init__(name="reliq-flusher", daemon=True)
        self._settler = settler
        self._board = board
        self._wake = threading.Event()
        self.asleep = True
        self.every_tick: list[Any] = []  # called at each tick; errors are logged

    def nudge(self) -> None:
        """There is work in hand; called only when `asleep`."""
        self._wake.set()

    def run(self) -> None:
        seen, still = -1, 0
        while True:
            if self._idle():
                self.asleep = True
                if self._idle():  # nothing came between the two
                    self._wake.wait()
                self._wake.clear()
                self.asleep = False
            time.sleep(TICK)
            for call in self.every_tick:
                call()
            settler = self._settler
            still = still + 1 if settler.taken == seen else 0
            seen = settler.taken
            if still >= 1 and len(settler) and settler.may_try:
                _quickly(settler.flush)
                seen = settler.taken
            if settler.has_refused:
                _quickly(settler.try_refused)

    def _idle(self) -> bool:
        return self._board.room == self._board.capacity


def _quickly(flush: Any) -> None:
    """Flush with a short switch interval: a busy loop in a task would otherwise get 5 ms at each step of the broker."""
    import sys

    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, 0.0005))
    try:
        flush()
    except Exception:
        logger.exception("the flusher failed; trying again")
    finally:
        sys.setswitchinterval(before)


def _failed_because(settlement: Settlement, error: Exception) -> Settlement:
    why = storable(f"{_UNSETTLED}: {type(error).__name__}: {text_of(error)}", _MOST)
    what = f"{why} (it was {settlement.kind}: {settlement.reason or 'no reason'})"
    info = ErrorInfo("reliq.errors.BrokerError", storable(what, 2 * _MOST))
    return Settlement(settlement.receipt, "failed", error=msgspec.msgpack.encode(info), reason=why)


def _failed(settlement: Settlement, error: Exception) -> Settlement:
    return Settlement(settlement.receipt, "failed", reason=_UNSETTLED)
