"""Async tasks: one event loop thread beside the slots."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from typing import Any

from reliq.ports.values import Receipt
from reliq.worker.board import Board
from reliq.worker.settler import Settler
from reliq.worker.slots import end_fork, escaped

logger = logging.getLogger("reliq.worker")

BACKLOG = 64  # opened async tasks that wait for room; with more of them nothing is claimed


class AsyncLoop:
    """Runs up to `slots` coroutines at once; the thread is created for the first one."""

    def __init__(self, runner: Any, board: Board, settler: Settler, *, slots: int) -> None:
        self._runner = runner
        self._board = board
        self._settler = settler
        self._slots = slots
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}  # touched in the loop's thread only
        self._backlog: deque[tuple[Any, int, float]] = deque()  # a job, its place on the board, since when
        self._waking = False
        self.forked = False
        self._inbox: deque[tuple[Any, int, float]] = deque()
        self._count = 0  # running or waiting; changed under the lock
        self._lock = threading.Lock()

    def free(self) -> int:
        """How many more deliveries may be claimed, all of which might be async."""
        return self._slots + BACKLOG - self._count

    def waited(self) -> float | None:
        """For how many seconds something has waited here for its first step; None: nothing does."""
        for waiting in (self._backlog, self._inbox):
            try:
                return time.monotonic() - waiting[0][2]
            except IndexError:
                continue
        return None

    @property
    def busy(self) -> bool:
        return self._count > 0

    def dispatch(self, job: Any, index: int) -> None:
        """Hand a started delivery to the loop; from a slot's thread."""
        if self._loop is None:
            self._begin()
        self._board.mark_async(index)
        with self._lock:
            self._count += 1
        self._board.park(index)  # until the loop takes it: that may be full, or blocked by one of its tasks
        self._inbox.append((job, index, time.monotonic()))
        if not self._waking:
            self._waking = True
            assert self._loop is not None
            self._loop.call_soon_threadsafe(self._receive)

    def abandon(self) -> list[Receipt]:
        """The worker stops: what waits for room will not run here; the caller gives it back."""
        receipts = []
        while self._backlog:
            try:
                job, index, _ = self._backlog.popleft()
            except IndexError:  # the loop was faster
                break
            self._board.free(index)
            self._left()
            receipts.append(job.delivery.receipt)
        return receipts

    def cancel(self, id: str) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cancel, id)

    def _begin(self) -> None:
        with self._lock:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                threading.Thread(target=_forever, args=(loop,), name="reliq-loop", daemon=True).start()
                self._loop = loop

    # --- in the loop's thread ---

    def _receive(self) -> None:
        self._waking = False
        while self._inbox:
            self._backlog.append(self._inbox.popleft())
        self._admit()

    def _admit(self) -> None:
        while self._backlog and len(self._tasks) < self._slots:
            try:
                job, index, _ = self._backlog.popleft()
            except IndexError:  # abandoned
                return
            if self._board.start(index, time.monotonic()):
                self._start(job, index)
            else:
                self._board.free(index)  # the parent took it back while it waited
                self._left()

    def _start(self, job: Any, index: int) -> None:
        assert self._loop is not None
        id = job.delivery.receipt.id
        self._tasks[id] = self._loop.create_task(self._run(job, index, id))

    async def _run(self, job: Any, index: int, id: str) -> None:
        try:
            settlement = await self._runner.arun(job)
        except BaseException as error:
            settlement = escaped(job.delivery.receipt, error)
        finally:
            self._tasks.pop(id, None)
        if self.forked:
            end_fork(id)
        self._board.finish(index)
        self._settler.add((settlement, job.kept(), index))
        self._left()
        self._admit()

    def _cancel(self, id: str) -> None:
        task = self._tasks.get(id)
        if task is not None:
            # Not at once: one cancelled before its first step would never run, not even its settlement.
            task.get_loop().call_soon(task.cancel)

    def _left(self) -> None:
        with self._lock:
            self._count -= 1


def _forever(loop: asyncio.AbstractEventLoop) -> None:
    """One task must not end the loop of all the others.

    asyncio lets SystemExit and KeyboardInterrupt through when a part of a task raises them, having stored them in that
    part, and a task can call `loop.stop()`.
    """
    asyncio.set_event_loop(loop)
    while not loop.is_closed():
        try:
            loop.run_forever()
            logger.warning("an async task stopped the event loop of all; it runs on")
        except BaseException as error:
            logger.warning("an async task let %s out into the event loop; it runs on", type(error).__name__)
