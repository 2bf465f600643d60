"""What one working process is made of, put together: a child's, or the whole worker's with `-P solo`."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Any

from reliq.errors import BrokerError
from reliq.worker import posix
from reliq.worker.board import Board
from reliq.worker.fetcher import Fetcher
from reliq.worker.limits import ThreadInterrupts, interrupts
from reliq.worker.loop import BACKLOG, AsyncLoop
from reliq.worker.options import WorkerOptions
from reliq.worker.runner import Runner
from reliq.worker.settler import Flusher, Settler
from reliq.worker.slots import Slots
from reliq.worker.waker import Waker

logger = logging.getLogger("reliq.worker")


class Bench:
    """Takes deliveries for one owner, runs them and settles them, until stopped.

    This is what `Middleware.startup(worker)` and `shutdown(worker)` are given: `app`, `owner`, `options`.
    """

    def __init__(
        self, app: Any, options: WorkerOptions, board: Board, owner: str, *, runner: Any = None
    ) -> None:
        self.app = app
        self.options = options
        self.owner = owner
        self._board = board
        self._runner = runner or Runner(app)
        self._interrupts = interrupts(self._runner, threads=options.threads)
        self._runner.guard = self._interrupts.guard
        self._settler = Settler(app.broker, self._runner, board)
        self._flusher = Flusher(self._settler, board)
        if isinstance(self._interrupts, ThreadInterrupts):
            self._flusher.every_tick.append(self._interrupts.tick)
        self._loop = AsyncLoop(self._runner, board, self._settler, slots=options.async_slots)
        self._fetcher = Fetcher(
            app.broker,
            owner,
            board,
            self._settler,
            queues=options.queues,
            most=options.prefetch,
            slots=options.threads,
            wait=lambda seconds: self._slots.pause(seconds),
            longest=options.watchdog / 4,
        )
        self._waker = Waker(app.broker, owner)
        self._slots = Slots(
            broker=app.broker,
            runner=self._runner,
            board=board,
            fetcher=self._fetcher,
            settler=self._settler,
            flusher=self._flusher,
            interrupts=self._interrupts,
            dispatch=self._loop.dispatch,
            free_async=self._loop.free,
            waited=self._loop.waited,
            waker=self._waker,
            threads=options.threads,
            allowance=self._allowance,
        )
        self._flusher.every_tick.append(self._slots.land)
        self._memory_seen = 0.0

    def stop(self) -> None:
        """Claim nothing more; safe in a signal handler."""
        self._slots.stop()

    def cancel(self, id: str) -> None:
        """Interrupt the task of this message, if it runs here."""
        self._interrupts.cancel(id)
        self._loop.cancel(id)

    def run(self, ready: Callable[[], object] = bool) -> None:
        """Work until stopped or used up, finish what has started, settle it.

        `ready()` is called when the start is over: what middleware loads belongs to it.
        """
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._in_a_fork)
        self._flusher.start()
        self._waker.start()
        self._startup()
        ready()
        try:
            self._slots.run()
            self._await_async()
            self._settler.flush_until(time.monotonic() + self.options.grace)
        finally:
            self._shutdown()

    def _in_a_fork(self) -> None:
        """A task has forked.  The fork may finish the function, and must touch nothing that is ours."""
        self._board.detach()
        self._slots.forked = self._loop.forked = True

    def _await_async(self) -> None:
        """The slots are done; coroutines may still run.  Whoever gave them time ends this process when it is over."""
        while self._loop.busy:
            waiting = self._loop.abandon()
            if waiting:
                try:
                    self.app.broker.give_back(waiting)
                except BrokerError as error:
                    logger.info("could not give back %d deliveries, the burial will: %s", len(waiting), error)
            time.sleep(0.01)

    def _allowance(self, fetched: int) -> int:
        """How many more deliveries may be claimed; 0: this process has served its time."""
        options = self.options
        if options.max_memory_per_child is not None and time.monotonic() - self._memory_seen > 0.5:
            self._memory_seen = time.monotonic()
            used = posix.resident() // 1024
            if used > options.max_memory_per_child:
                logger.warning(
                    "%s uses %d KiB and is replaced", self.owner, used, extra={"worker": self.owner}
                )
                return 0
        if options.max_tasks_per_child is None:
            return options.prefetch
        left = options.max_tasks_per_child - fetched
        if left <= 0:
            logger.info(
                "%s has run %d tasks and is replaced", self.owner, fetched, extra={"worker": self.owner}
            )
        return left

    def _startup(self) -> None:
        for middleware in self.app.all_middleware:
            middleware.startup(self)

    def _shutdown(self) -> None:
        for middleware in reversed(self.app.all_middleware):
            try:
                middleware.shutdown(self)
            except Exception:
                logger.exception("middleware %r failed in shutdown", middleware.name)


def capacity(options: WorkerOptions) -> int:
    """Places on the board: all coroutines, their backlog, two batches, and a delivery for each slot."""
    return options.async_slots + BACKLOG + 2 * options.prefetch + options.threads
