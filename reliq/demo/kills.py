"""Killing a worker while a task runs in it, and knowing which."""

from __future__ import annotations

import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from reliq.testing.faults.fleet import Fleet, Worker
from reliq.testing.faults.journal import Fact, read
from reliq.testing.faults.processes import signal_tree

_PATIENCE = 5.0  # seconds to look for a moment at which a task runs


@dataclass(frozen=True, slots=True)
class Kill:
    """A worker that was killed with its child, and the file that was being counted."""

    worker: int
    path: str
    id: str


def kill_one(fleet: Fleet, journals: Path, dice: random.Random) -> Kill | None:
    """SIGKILL one of the workers and its child while a task runs there, and start another in its place.

    The worker is stopped first, so that what its journal says is still so when the signal arrives.
    None when for some seconds no task was found running.
    """
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        worker = dice.choice(fleet.workers)
        signal_tree(worker.pid, signal.SIGSTOP)
        running = _running(worker, journals)
        if running is not None:
            worker.kill()
            fleet.replace(worker.pid)
            return Kill(worker.pid, running.details["path"], running.id)
        signal_tree(worker.pid, signal.SIGCONT)
        time.sleep(0.003)
    return None


def _running(worker: Worker, journals: Path) -> Fact | None:
    for process in worker.tree():
        path = journals / f"{process.pid}.journal"
        facts = read(path) if path.exists() else []
        last = facts[-1] if facts else None
        # Only a first run: a task whose process dies three times is quarantined, whoever killed it.
        if last is not None and last.kind == "started" and last.details["attempt"] == "1":
            return last
    return None
