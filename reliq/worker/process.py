"""A child as its parent sees it."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

import msgspec

from reliq.ports.values import Settlement
from reliq.worker import posix, watch
from reliq.worker.bench import capacity
from reliq.worker.board import Board
from reliq.worker.child import Spec
from reliq.worker.leaving import UNFLUSHED
from reliq.worker.options import WorkerOptions

TAIL = 4000  # bytes of an early death's stderr that are quoted


class ChildProcess:
    """Started in a session of its own, so that its whole process group can be killed.

    Must be created in the parent's main thread: the kernel kills a child when the *thread* that started it ends.
    """

    def __init__(self, options: WorkerOptions) -> None:
        with contextlib.ExitStack() as undo:  # if the system has no descriptor or process left
            size = capacity(options)
            board_fd = posix.shared_file(_board_size(size))
            self.board = Board(size, board_fd)
            undo.callback(self.board.close)
            self._early = posix.shared_file(0)
            undo.callback(os.close, self._early)
            self._control = self._start(options, board_fd)
            undo.pop_all()
        self.owner = f"{socket.gethostname()}:{self.process.pid}:{secrets.token_hex(4)}"
        self.began = time.monotonic()
        self.ready_since: float | None = None
        self.busy_at = 0.0  # when it was last seen to run something
        self.stopping_since: float | None = None
        self.killed = False  # by us: it is dead, and will be found so
        self.blameless = ""  # why, when no task is to blame
        self.guilty: list[Settlement] = []
        self.asked: dict[str, float] = {}  # ids asked to stop: when we lose patience
        self.stuck_since: float | None = None  # no delivery was started while some wait
        self.look_again = 0.0  # when to see again what it was given and does not look at
        self.retired_since: float | None = None  # it has done its last work and should be gone
        self.registered = False

    @property
    def pid(self) -> int:
        return self.process.pid

    def tell(self, line: str) -> None:
        """A line through the pipe; a dead child does not hear it."""
        with contextlib.suppress(BrokenPipeError, BlockingIOError):
            os.write(self._control, line.encode() + b"\n")

    def stop(self) -> None:
        """Warm: it finishes what it has started."""
        if self.stopping_since is None:
            self.stopping_since = time.monotonic()
            self.tell("stop")
            if self.board.ready:  # before, nobody handles the signal
                self.signal(signal.SIGTERM)

    def signal(self, signum: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signum)  # a zombie at worst: nobody else has waited for it

    def kill(self, *, guilty: Sequence[Settlement] = (), blameless: str = "") -> None:
        """SIGKILL it and its group; what follows is the burial."""
        self.killed = True
        self.guilty.extend(guilty)
        self.blameless = self.blameless or blameless
        posix.kill_group(self.pid)

    def ended(self) -> int | None:
        """Its return code once it is dead, its process group killed before its id is given up."""
        if posix.is_dead(self.pid):
            posix.kill_group(self.pid)
            return self.process.wait()
        code = self.process.poll()
        if code is not None:
            posix.kill_group(self.pid)
        return code

    def ended_well(self, code: int) -> bool:
        """Whether its end with this return code is its own: it had done its work, or was stopped before any."""
        if self.board.retired:
            # A SIGTERM may still find it, when the interpreter no longer handles signals; and perhaps nobody reads
            # what it has printed.
            return code in (0, -signal.SIGTERM, UNFLUSHED)
        return code == 0 and self.stopping_since is not None and not self.board.ready

    def early_words(self) -> str:
        """The end of what it wrote to stderr before it was ready."""
        size = os.fstat(self._early).st_size
        return os.pread(self._early, TAIL, max(0, size - TAIL)).decode(errors="replace")

    def close(self) -> None:
        for fd in (self._control, self._early):
            os.close(fd)
        self.board.close()

    def _start(self, options: WorkerOptions, board_fd: int) -> int:
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as undo:
            read, write = os.pipe()
            ours.callback(os.close, read)
            undo.callback(os.close, write)
            os.set_blocking(write, False)
            stderr = os.dup(2)
            ours.callback(os.close, stderr)
            linger = options.grace + watch.SETTLE
            spec = Spec(os.getpid(), board_fd, read, stderr, [*sys.path], linger, options)
            self.process = subprocess.Popen(
                [sys.executable, "-m", "reliq.worker.child", msgspec.json.encode(spec).decode()],
                stdin=subprocess.DEVNULL,
                stderr=self._early,
                pass_fds=(board_fd, read, stderr),
                start_new_session=True,
            )
            undo.pop_all()
        return write


def _board_size(places: int) -> int:
    from reliq.worker.board import size_of

    return size_of(places)
