"""Real `reliq worker` processes: started, watched, killed and replaced; ended by their saved pids."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

from reliq.ports.broker import Broker
from reliq.testing.faults.processes import Process, kill_tree, tree

__all__ = ["Fleet", "Worker"]


class Worker:
    """One `reliq worker` with its children; its output goes to a file.  It dies with the process that started it."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str],
        folder: Path | None = None,
    ) -> None:
        self.log = log
        self._asked = False
        watched, self._tether = os.pipe()
        weakref.finalize(self, os.close, self._tether)
        with open(log, "ab") as output, open(watched, "rb"):
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "reliq", "worker", "--end-with", str(watched), *arguments],
                pass_fds=[watched],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                cwd=folder,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def exit_status(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""
        return self._popen.poll()

    def tree(self) -> list[Process]:
        """The parent and its children, parent first."""
        return tree(self.pid) if self.exit_status is None else []

    def kill(self) -> list[Process]:
        """SIGKILL the parent and all children; who was killed."""
        killed = kill_tree(self.pid) if self.exit_status is None else []
        self._popen.wait(timeout=10)
        return killed

    def stop(self, *, timeout: float = 30.0) -> float:
        """SIGTERM, and wait for the end; the seconds that took."""
        begun = time.monotonic()
        self.ask_to_stop()
        self.await_end(timeout)
        return time.monotonic() - begun

    def ask_to_stop(self) -> None:
        """SIGTERM, once: a second one would mean `at once`."""
        if self.exit_status is None and not self._asked:
            self._asked = True
            self._popen.send_signal(signal.SIGTERM)

    def await_end(self, timeout: float) -> None:
        """`TimeoutError`, after a kill, if it has not ended by then."""
        try:
            self._popen.wait(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            why = f"worker {self.pid} did not end within {timeout:.0f} s of SIGTERM:\n{self.tail()}"
            raise TimeoutError(why) from None

    def tail(self, lines: int = 30) -> str:
        """The end of its output."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Fleet:
    """Several workers with the same arguments; `replace` starts a new one where one has ended."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        size: int,
        folder: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._arguments = tuple(arguments)
        self._size = size
        self._folder = folder
        self._environment = dict(environment or {})
        self._started = 0
        self.workers: list[Worker] = []

    def __enter__(self) -> Fleet:
        for _ in range(self._size):
            self.start()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.kill()

    def start(self) -> Worker:
        """Start one more."""
        self._started += 1
        log = self._folder / f"worker-{self._started}.log"
        worker = Worker(self._arguments, log=log, environment=self._environment)
        self.workers.append(worker)
        return worker

    def replace(self, pid: int) -> Worker:
        """Start a worker in the place of the one with this pid, which has ended."""
        gone = next(worker for worker in self.workers if worker.pid == pid)
        gone.kill()
        self.workers.remove(gone)
        return self.start()

    def pids(self) -> list[int]:
        """Of those that run."""
        return [worker.pid for worker in self.workers if worker.exit_status is None]

    def at_work(self, broker: Broker) -> list[int]:
        """Of those that hold a message right now: the victims whose death tells something.

        To kill one that has still to start does nothing but keep it from starting, on a busy machine for ever.
        """
        holders = {int(owner.owner.split(":")[1]) for owner in broker.owners() if owner.held}
        return [worker.pid for worker in self.workers if holders & {p.pid for p in worker.tree()}]

    def stop(self, *, timeout: float = 30.0) -> None:
        """SIGTERM to all, wait for all."""
        for worker in self.workers:
            worker.ask_to_stop()
        for worker in self.workers:
            worker.await_end(timeout)

    def log(self) -> str:
        """The output of all workers that there were."""
        return "\n".join(
            path.read_text(errors="replace") for path in sorted(self._folder.glob("worker-*.log"))
        )
