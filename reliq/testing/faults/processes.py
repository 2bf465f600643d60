"""Processes by their saved identity: which descend from which, what they use, and how to end them.

A process is its pid *and* the moment it was born, so a signal never reaches a stranger that was given an old pid.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

__all__ = ["Process", "cpu_seconds", "kill_tree", "memory", "signal_tree", "tree"]

_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


class Process(NamedTuple):
    """One process; `born` is when it began, in whatever unit the system has."""

    pid: int
    parent: int
    born: str

    @property
    def alive(self) -> bool:
        """Whether it still runs (a zombie does not)."""
        now = _one(self.pid)
        return now is not None and now.born == self.born  # its parent may have changed

    def send(self, signum: int) -> bool:
        """Send a signal to this process, not to another that was given its pid; whether it was there."""
        if not self.alive:
            return False
        try:
            os.kill(self.pid, signum)
        except ProcessLookupError:
            return False
        return True


def tree(pid: int) -> list[Process]:
    """The process and all that descend from it, parents first; empty when it is gone."""
    everyone = _all()
    found = [p for p in everyone if p.pid == pid]
    for process in found:  # grows while it is walked
        found.extend(p for p in everyone if p.parent == process.pid)
    return found


def signal_tree(pid: int, signum: int) -> list[Process]:
    """Send `signum` to a process and its descendants; who got it."""
    return [p for p in tree(pid) if p.send(signum)]


def kill_tree(pid: int, *, timeout: float = 10.0) -> list[Process]:
    """SIGKILL a process and all its descendants, as if the machine had lost them at one moment; who was killed.

    They are stopped first, until nobody new appears: a dying parent must not have the time to notice its dead child.
    """
    stopped: dict[int, Process] = {}
    while new := [p for p in tree(pid) if p.pid not in stopped]:
        for process in new:
            process.send(signal.SIGSTOP)
            stopped[process.pid] = process
    for process in stopped.values():
        process.send(signal.SIGKILL)
    _await_end(stopped.values(), timeout)
    return list(stopped.values())


def cpu_seconds(processes: Iterable[Process]) -> float:
    """Processor time that these processes have used so far, user and system."""
    return sum(_cpu(p.pid) for p in processes)


def memory(pid: int) -> tuple[int, int]:
    """Resident and proportional size in bytes; the latter (Linux only, else 0) divides shared pages by their users."""
    if not sys.platform.startswith("linux"):
        return int(_ps("-o", "rss=", "-p", str(pid)) or 0) * 1024, 0
    fields = {"Rss:": 0, "Pss:": 0}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(" ")
        if name in fields:
            fields[name] = int(rest.split()[0]) * 1024
    return fields["Rss:"], fields["Pss:"]


def _await_end(processes: Iterable[Process], timeout: float) -> None:
    until = time.monotonic() + timeout
    for process in processes:
        while process.alive:
            if time.monotonic() > until:
                raise TimeoutError(f"process {process.pid} is still there {timeout:.0f} s after its SIGKILL")
            time.sleep(0.001)


if sys.platform.startswith("linux"):

    def _all() -> list[Process]:
        found = (_one(int(name)) for name in os.listdir("/proc") if name.isdigit())
        return [process for process in found if process is not None]

    def _one(pid: int) -> Process | None:
        fields = _stat(pid)
        if fields is None or fields[0] in "ZX":
            return None
        return Process(pid, int(fields[1]), fields[19])

    def _cpu(pid: int) -> float:
        fields = _stat(pid)
        return (int(fields[11]) + int(fields[12])) / _TICKS if fields else 0.0

    def _stat(pid: int) -> list[str] | None:
        # The fields from the third on: the second, the name in parentheses, may hold anything.
        try:
            return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None

else:

    def _all() -> list[Process]:
        lines = _ps("-axo", "pid=,ppid=,stat=,lstart=").splitlines()
        return [process for line in lines if (process := _parse(line)) is not None]

    def _one(pid: int) -> Process | None:
        return _parse(_ps("-o", "pid=,ppid=,stat=,lstart=", "-p", str(pid)))

    def _cpu(pid: int) -> float:
        minutes, _, seconds = _ps("-o", "cputime=", "-p", str(pid)).strip().rpartition(":")
        return float(seconds or 0) + 60 * float(minutes.rpartition(":")[2] or 0)

    def _parse(line: str) -> Process | None:
        fields = line.split(maxsplit=3)
        if len(fields) < 4 or fields[2].startswith("Z"):
            return None
        return Process(int(fields[0]), int(fields[1]), fields[3].strip())


def _ps(*arguments: str) -> str:
    return subprocess.run(["ps", *arguments], capture_output=True, text=True, check=False).stdout
