"""`-P solo`: the whole worker in one process, to debug in and for systems without process groups.

The main thread runs tasks, other threads renew and reap.  What a parent in another process is needed for is missing: a
task that holds the GIL stops the renewals, and nothing can enforce a hard limit.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from types import FrameType
from typing import Any

from msgspec.structs import replace

from reliq.errors import BrokerError
from reliq.worker import watch
from reliq.worker.bench import Bench, capacity
from reliq.worker.board import Board, receipts
from reliq.worker.health import HealthFile
from reliq.worker.keeper import Keeper
from reliq.worker.options import WorkerOptions
from reliq.worker.reaper import Reaper, tell
from reliq.worker.services import Services

logger = logging.getLogger("reliq.worker")

TICK = 0.1


class Solo:
    """Runs a worker in this process until it is told to stop; `run` returns the exit code."""

    def __init__(self, app: Any, options: WorkerOptions) -> None:
        self._app = app
        self._options = options = _without_recycling(options)
        self._life: _Life | None = None
        self._stopping_since: float | None = None
        self._cold = threading.Event()
        self._over = threading.Event()
        self._since = time.time()
        self._about = {
            "app": app.name,
            "host": socket.gethostname(),
            "queues": ",".join(name for name, _ in options.queues),
        }
        self._health = HealthFile(options.health, app.name)

    def run(self) -> int:
        """Blocks, in the main thread."""
        options = self._options
        self._keeper = Keeper(
            self._app.broker,
            lease=options.lease,
            every=options.renewal,
            idle_every=options.idle_renewal,
            registered=self._registered,
            dead=self._dead,
            stop=self._cancel,
        )
        self._life = _Life(self._app, options)
        signals = [signal.SIGTERM, signal.SIGINT]
        before = {signum: signal.signal(signum, self._on_signal) for signum in signals}
        reaper = Reaper(self._app.broker, self._keeper, every=options.sweep, renewal=options.renewal)
        services = Services(self._app)
        for part in (self._keeper, reaper, services):
            part.start()
        threading.Thread(target=self._watch, name="reliq-watch", daemon=True).start()
        try:
            while self._stopping_since is None:
                self._live(self._life)
                if self._stopping_since is None:
                    self._life = _Life(self._app, options)
        finally:
            self._over.set()
            services.end()
            reaper.end()
            self._keeper.end()
            self._health.remove()
            for signum, handler in before.items():
                signal.signal(signum, handler)
        logger.info("stopped", extra={"event": "stopped"})
        return 0

    def _live(self, life: _Life) -> None:
        """One owner's life: until stopped, or dead for the broker (a suspended machine)."""
        self._keeper.add(life.owner, self._about)
        while not life.registered.wait(0.1):
            if self._stopping_since is not None:
                return
        if self._stopping_since is not None:
            life.bench.stop()
        life.bench.run()
        self._keeper.drop(life.owner)
        self._bury(life)

    def _bury(self, life: _Life) -> None:
        try:
            tell(self._app.broker.bury(life.owner, started=[]))
        except BrokerError as error:
            logger.warning("could not say goodbye, the lease will end it: %s", error)

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        if self._stopping_since is None:
            self._stopping_since = time.monotonic()
            if self._life is not None:
                self._life.bench.stop()
        else:
            self._cold.set()

    def _registered(self, owner: str) -> None:
        if self._life is not None and self._life.owner == owner:
            self._life.registered.set()

    def _dead(self, owner: str) -> None:
        if self._life is not None and self._life.owner == owner:
            logger.warning("owner %s is dead for the broker; what runs will be refused", owner)
            self._life.bench.stop()

    def _cancel(self, owner: str, ids: tuple[str, ...]) -> None:
        life = self._life
        if life is not None and life.owner == owner:
            for id in set(ids) - life.asked:
                life.asked.add(id)
                life.bench.cancel(id)

    # --- the watching thread ---

    def _watch(self) -> None:
        while not self._over.is_set():
            self._cold.wait(TICK)
            now = time.monotonic()
            stopping = self._stopping_since
            if self._cold.is_set() or (stopping is not None and self._is_over_grace(now - stopping)):
                self._leave_at_once()
            if self._life is not None:
                self._keeper.note(self._life.owner, busy=self._life.board.busy)
                self._take_back(self._life, now)
                if self._health.is_due():
                    child = watch.describe(self._life, now)
                    silence = self._keeper.silence()
                    self._health.write((child,), silence=silence, stopping=stopping is not None)

    def _is_over_grace(self, stopping: float) -> bool:
        states = self._life.board.states() if self._life is not None else b""
        return watch.is_over_grace(states, stopping - self._options.grace)

    def _leave_at_once(self) -> None:
        logger.warning("stopping at once: what runs will run again", extra={"event": "cold_shutdown"})
        self._health.remove()
        if self._life is not None:
            goodbye = threading.Thread(target=self._bury, args=(self._life,), daemon=True)
            goodbye.start()
            goodbye.join(2.0)
        sys.stderr.flush()
        os._exit(0)

    def _take_back(self, life: _Life, now: float) -> None:
        states = life.board.states()
        if watch.is_stuck(life, states, life.board.running(states), now):
            taken = life.board.take()
            if taken:
                try:
                    held = self._app.broker.held(life.owner)
                    self._app.broker.give_back(receipts(taken, life.owner, held))
                except BrokerError as error:
                    logger.info("could not give back %d deliveries: %s", len(taken), error)


def _without_recycling(options: WorkerOptions) -> WorkerOptions:
    """There is no process to replace: what it has leaked stays, however often it begins a new life."""
    for name in ("max_tasks_per_child", "max_memory_per_child"):
        if getattr(options, name) is not None:
            logger.warning("%s has no effect with one process (-P solo)", name)
    return replace(options, max_tasks_per_child=None, max_memory_per_child=None)


class _Life:
    """One owner of this process and what works for it."""

    def __init__(self, app: Any, options: WorkerOptions) -> None:
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self.board = Board(capacity(options))
        self.board.ready = True
        self.bench = Bench(app, options, self.board, self.owner)
        self.registered = threading.Event()
        self.asked: set[str] = set()
        self.began = time.monotonic()
        self.stuck_since: float | None = None

    @property
    def pid(self) -> int:
        return os.getpid()
