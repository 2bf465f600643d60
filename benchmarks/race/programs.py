"""Other programs, each in a session of its own: Ctrl-C reaches the race alone, which ends them by their pids."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from reliq.testing.faults.processes import Process, kill_tree, tree


class Program:
    """A process with its descendants; its output goes to a file."""

    def __init__(self, command: Sequence[str | Path], *, log: Path, environment: Mapping[str, str]) -> None:
        self.command = tuple(map(str, command))
        self.log = log
        self._asked = False
        self._descendants: dict[Process, None] = {}
        with open(log, "ab") as output:
            self._popen = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    def tree(self) -> list[Process]:
        """It and all that descend from it, it first; remembered, should it die before them."""
        found = tree(self.pid) if self.running else []
        self._descendants.update(dict.fromkeys(found))
        return found

    def stop(self, timeout: float = 15.0) -> None:
        """SIGTERM, and SIGKILL for what is left after `timeout`."""
        self.ask_to_stop()
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(timeout)
        self.kill()

    def ask_to_stop(self) -> None:
        """SIGTERM, once: a second one would mean `at once` to some."""
        if self.running and not self._asked:
            self._asked = True
            self.tree()
            self._popen.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL everything of it that runs."""
        if self.running:
            self.tree()
            kill_tree(self.pid)
        self._popen.wait(timeout=10)
        for process in self._descendants:
            process.send(signal.SIGKILL)

    def wait(self, timeout: float) -> None:
        """Until it ended by itself; `RuntimeError` with the end of its output when it failed or took too long."""
        try:
            status = self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise RuntimeError(
                f"{' '.join(self.command)} takes over {timeout:.0f} s:\n{self.tail()}"
            ) from None
        if status:
            raise RuntimeError(f"{' '.join(self.command)} ended with status {status}:\n{self.tail()}")

    def answer(self, timeout: float) -> Any:
        """The JSON of its last line, once it has ended."""
        self.wait(timeout)
        return json.loads(self.log.read_text().splitlines()[-1])

    def tail(self, lines: int = 20) -> str:
        """The end of its output."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
