"""The slots: threads that take deliveries, run them and hand in what came of it."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from reliq.errors import BrokerError, TaskCancelled
from reliq.policy.decide import text_of
from reliq.ports.values import Delivery, Receipt, Settlement
from reliq.worker.board import Board
from reliq.worker.faults import describe
from reliq.worker.fetcher import BLOCK, Fetcher
from reliq.worker.limits import Interrupts, ThreadInterrupts
from reliq.worker.settler import Flusher, Settler
from reliq.worker.waker import Waker

logger = logging.getLogger("reliq.worker")

LATE = 0.04  # settle between two tasks when the batch has taken so long
CROWDED = 1.0  # seconds that a coroutine has waited here: the parent takes it back, and others should run it
SHY = 0.1  # seconds between two claims while it is so: others come first, sync tasks still get their turn
BRIEF = 0.08  # seconds that a claim waits while it may get so


class Slots:
    """`threads` slots share one queue of claimed deliveries; whoever finds it empty claims.

    With one slot everything happens in the thread that calls `run`: no hand-over, no second thread that would have
    to fight for the GIL at each step of a broker in the same process.
    """

    def __init__(
        self,
        *,
        broker: Any,
        runner: Any,
        board: Board,
        fetcher: Fetcher,
        settler: Settler,
        flusher: Flusher,
        interrupts: Interrupts,
        dispatch: Callable[[Any, int], None],
        free_async: Callable[[], int],
        waited: Callable[[], float | None],
        waker: Waker,
        threads: int,
        allowance: Callable[[int], int],
    ) -> None:
        self._broker = broker
        self._runner = runner
        self._board = board
        self._fetcher = fetcher
        self._settler = settler
        self._flusher = flusher
        self._interrupts = interrupts
        self._dispatch = dispatch
        self._free_async = free_async
        self._waited = waited
        self._waker = waker
        self._threads = threads
        # One message of a sync task needs no flusher, which would have to be woken: its own thread settles it.
        self._single = threads == 1 and not isinstance(interrupts, ThreadInterrupts)
        self._allowance = allowance
        self._ready: deque[tuple[Delivery, int]] = deque()
        self._fetching = threading.Lock()
        self._stopped = False
        self.forked = False
        self._alone = False
        self._failure: BaseException | None = None

    def stop(self) -> None:
        """Claim nothing more; what runs goes on, what has not started is given back.  Safe in a signal handler."""
        self._stopped = True
        self._waker.wake()

    def pause(self, seconds: float) -> None:
        """Sleep, but not beyond `stop`."""
        end = time.monotonic() + seconds
        while not self._stopped and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.05))

    def run(self) -> None:
        """Work until stopped; then give back what has not started."""
        if self._threads == 1:
            self._work()
        else:
            slots = [
                threading.Thread(target=self._guarded, name=f"reliq-slot-{n}") for n in range(self._threads)
            ]
            for slot in slots:
                slot.start()
            for slot in slots:
                while slot.is_alive():  # in steps, so that signal handlers get their turn
                    slot.join(0.05)
            if self._failure is not None:
                raise self._failure

    def _guarded(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._failure = error
            self.stop()

    def _work(self) -> None:
        ready, board, run, now = self._ready, self._board, self._run, time.monotonic
        began = late = now()
        count = 0
        while True:
            try:
                delivery, index = ready.popleft()
            except IndexError:
                if count:
                    self._fetcher.measured(now() - began, count)
                    self._interrupts.clear()
                if not self._refill():
                    return
                began = late = now()
                count = 0
                continue
            if self._stopped:
                self._return([(delivery, index), *self._rest()])
                continue
            at = now()
            if at - late > LATE:
                late = at
                if len(self._settler):
                    self._settler.flush()
            if board.start(index, at):
                run(delivery, index)
                count += 1
            else:
                board.free(index)  # the parent took it back

    def _run(self, delivery: Delivery, index: int) -> None:
        """Run one started delivery, or hand it to the loop."""
        job = self._runner.open(delivery)
        if type(job) is Settlement:
            self._board.finish(index)
            self._settler.add((job, None, index))
            return
        if job.hard is not None:
            self._board.limit(index, job.hard)
        if job.is_async:
            self._look_out()
            self._dispatch(job, index)
            return
        try:
            settlement = self._interrupts.run(job)
        except BaseException as error:  # an interrupt beside the task's own code, or a fault of ours
            settlement = escaped(delivery.receipt, error)
        if self.forked:
            end_fork(delivery.receipt.id)
        self._board.finish(index)
        # What nobody will be told of is let go at once: its memory is the next one's, still in the processor's cache.
        self._settler.add((settlement, job.kept() if job.chain.settled else None, index))

    def _refill(self) -> bool:
        """Claim; False when this slot is to end."""
        with self._fetching:
            if self._ready:
                return True
            if self._stopped:
                self._drop_ahead()
                return False
            allowance = self._allowance(self._fetcher.fetched)
            if allowance <= 0 or not self._fetcher.live:
                self._stopped = True
                self._drop_ahead()
                return False
            at_most = min(allowance, self._room())
            if at_most <= 0:
                self._board.full = True
                self.pause(0.01)
                return True
            waited = self._waited()
            if waited is None:
                got = self._claim(at_most, wait=BLOCK)
            elif waited <= CROWDED:
                got = self._claim(at_most, wait=BRIEF)
            else:
                got = self._claim_shyly()
            if got is None:
                self.pause(0.01)
            elif got and self._stopped:
                self._return(got)
            elif got:
                self._take_in(got)
                if not self._alone and waited is None:
                    self._fetcher.go_ahead(got=len(got), at_most=allowance - len(got))
                    if self._fetcher.ahead_since is not None:
                        self._look_out()
            return True

    def _take_in(self, got: list[tuple[Delivery, int]]) -> None:
        self._board.full = False
        self._alone = got[0][0].alone
        self._ready.extend(got)
        if len(got) > 1 or not self._single:
            self._look_out()

    def _look_out(self) -> None:
        """Something may have to be done while tasks run: let the flusher look at its clock."""
        if self._flusher.asleep:
            self._flusher.nudge()

    def land(self) -> None:
        """Take in a claim that has been on its way for long, from another thread: the batch before it takes its time.

        What it brings is then on the board, where the parent sees it and can give it to others.
        """
        since = self._fetcher.ahead_since
        if since is None or time.monotonic() - since < LATE or not self._fetching.acquire(blocking=False):
            return
        try:
            if self._fetcher.ahead_since is not None:
                got = self._fetcher.receive()
                if got and self._stopped:
                    self._return(got)
                elif got:
                    self._take_in(got)
        finally:
            self._fetching.release()

    def _drop_ahead(self) -> None:
        """The claim on its way comes too late."""
        if self._fetcher.ahead_since is not None and (got := self._fetcher.receive()):
            self._return(got)

    def _claim(self, at_most: int, *, wait: float) -> list[tuple[Delivery, int]] | None:
        in_hand = self._board.capacity - self._board.room - len(self._settler)
        with self._waker.blocking():
            if self._stopped:  # from here on `stop` ends the claim
                return []
            got = self._fetcher.claim(at_most=at_most, alone=in_hand <= 0, wait=wait)
        if not got:
            self._board.full = got is None
        return got

    def _claim_shyly(self) -> list[tuple[Delivery, int]] | None:
        self.pause(SHY)
        return [] if self._stopped else self._claim(1, wait=0.0)

    def _room(self) -> int:
        """How many more deliveries may be in hand; while a charged message runs, none."""
        if self._alone:
            busy = self._board.capacity - self._board.room - len(self._settler) > 0
            if busy:
                return 0
            self._alone = False
        return min(self._free_async(), self._board.room)

    def _rest(self) -> Iterator[tuple[Delivery, int]]:
        """All that waits, taken out of the queue."""
        with contextlib.suppress(IndexError):
            while True:
                yield self._ready.popleft()

    def _return(self, got: list[tuple[Delivery, int]]) -> None:
        """Claimed while the worker was told to stop: they go back."""
        receipts: list[Receipt] = []
        for delivery, index in got:
            receipts.append(delivery.receipt)
            self._board.free(index)
        try:
            self._broker.give_back(receipts)
        except BrokerError as error:
            logger.info("could not give back %d deliveries, the burial will: %s", len(receipts), error)


def end_fork(id: str) -> None:
    """A task returned a second time, in a fork that it made: its message is settled by the process it was given to."""
    logger.warning("task of %s returned in a fork as well; the fork ends here", id, extra={"id": id})
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(0)


def escaped(receipt: Receipt, error: BaseException) -> Settlement:
    """The verdict on a run whose end the runner could not tell."""
    if isinstance(error, TaskCancelled):
        return Settlement(receipt, "dropped", reason="cancelled")
    name = type(error).__name__
    logger.error(
        "task of %s left the runner with %s", receipt.id, name, exc_info=error, extra={"id": receipt.id}
    )
    info = msgspec.msgpack.encode(describe(error))
    return Settlement(receipt, "failed", error=info, reason=f"{name}: {text_of(error)}"[:500])
