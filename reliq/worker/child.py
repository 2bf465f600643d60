"""One child process: `python -m reliq.worker.child SPEC`, started by the supervisor only.

The parent talks to it through a pipe, a line at a time: `owner ID` once the owner is registered, `stop`, `cancel ID`.
The end of the pipe means that the parent is dead.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from typing import Any, NoReturn

import msgspec

from reliq.errors import ReliqError
from reliq.worker import posix
from reliq.worker.bench import Bench, capacity
from reliq.worker.board import Board
from reliq.worker.leaving import leave
from reliq.worker.options import WorkerOptions

logger = logging.getLogger("reliq.worker")

CRASHED, NO_APP = 70, 4
WRITE = 0.5  # seconds for what is left in the buffers, before the parent loses its patience


class Spec(msgspec.Struct, frozen=True):
    """What a child is told at its start; descriptors are inherited."""

    parent: int
    board: int
    control: int
    stderr: int  # the real one; until the child is ready its own is a file that the parent can quote
    path: list[str]
    linger: float  # seconds to end in, from the request to stop or from its last work
    options: WorkerOptions


class Child:
    """Imports the app, waits for its owner id, works until told to stop."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._board = Board(capacity(spec.options), spec.board)
        self._owner = ""
        self._registered = threading.Event()
        self._stopped_since: float | None = None
        self._bench: Bench | None = None

    def run(self) -> int:
        self._signals()
        threading.Thread(target=self._listen, name="reliq-control", daemon=True).start()
        app = self._load()
        if app is None:
            return NO_APP
        while not self._registered.wait(0.1):
            if self._stopped_since is not None:
                return 0
        bench = self._bench = Bench(app, self._spec.options, self._board, self._owner)
        if self._stopped_since is not None:
            bench.stop()
        bench.run(self._ready)
        self._board.retired = True
        app.close()
        return 0

    @property
    def may_linger(self) -> float:
        """Seconds for threads and `atexit` callbacks: what is left of the parent's patience."""
        now = time.monotonic()
        return max(0.0, (self._stopped_since or now) + self._spec.linger - WRITE - now)

    def _load(self) -> Any:
        from reliq.loader import load_app

        try:
            app = load_app(self._spec.options.app)
            app.broker  # noqa: B018 - opens the connection in this process
            return app
        except ReliqError as error:
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            return None

    def _ready(self) -> None:
        """The start is over: what was written so far and all that follows goes to the real stderr."""
        sys.stderr.flush()
        size = os.fstat(2).st_size
        early = os.pread(2, size, 0) if size else b""
        os.dup2(self._spec.stderr, 2)
        os.close(self._spec.stderr)
        if early:
            os.write(2, early)
        self._board.ready = True

    def _signals(self) -> None:
        faulthandler.enable()
        faulthandler.register(signal.SIGUSR2, all_threads=True)
        # Handlers, not SIG_IGN: an ignored signal would stay ignored in every program that a task starts.
        for signum in (signal.SIGINT, signal.SIGHUP):
            signal.signal(signum, lambda signum, frame: None)
        signal.signal(signal.SIGTERM, lambda signum, frame: self._stop())
        os.register_at_fork(after_in_child=_forget_signals)

    def _stop(self) -> None:
        self._stopped_since = self._stopped_since or time.monotonic()
        if self._bench is not None:
            self._bench.stop()

    def _listen(self) -> None:
        with os.fdopen(self._spec.control, "r", encoding="utf-8") as lines:
            for line in lines:
                verb, _, value = line.rstrip("\n").partition(" ")
                if verb == "owner":
                    self._owner = value
                    self._registered.set()
                elif verb == "stop":
                    self._stop()
                elif verb == "cancel" and self._bench is not None:
                    self._bench.cancel(value)
        posix.kill_group(os.getpid())  # the parent is dead, and so are we and what we have started


def _forget_signals() -> None:
    """A fork made by a task is no child of ours: `Process.terminate()` must end it."""
    for signum in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGUSR1):
        signal.signal(signum, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def main(argv: list[str]) -> NoReturn:
    spec = msgspec.json.decode(argv[1], type=Spec)
    if not posix.die_with_parent(spec.parent):
        leave(CRASHED)
    for fd in (spec.board, spec.control, spec.stderr):
        os.set_inheritable(fd, False)
    sys.path[:] = spec.path
    sys.argv[:] = ["reliq-worker-child"]
    from reliq.log import setup

    setup(spec.options.log_level, spec.options.log_format)
    child = Child(spec)
    code = child.run()
    leave(code, within=child.may_linger)


if __name__ == "__main__":
    main(sys.argv)
