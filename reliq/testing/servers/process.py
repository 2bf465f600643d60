"""A server process: known to be ready by what it prints, ended by its saved pid, and with its parent."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from reliq.errors import ReliqError

__all__ = ["ServerFailed", "ServerProcess", "until"]

_LOG_LINES = 200
# The server takes this shell's place, so its pid and its exit are the server's.  The reader left beside it ends it when
# our end of the pipe closes without a word: then we are dead, however we died.  (A kernel that kills with the parent
# is Linux only, and counts the thread that forked, not the process.)
_WITH_PARENT = """
exec 3<&0 </dev/null
( read -r word <&3 || kill -9 $$ ) >/dev/null 2>&1 &
exec 3<&- "$@"
"""


class ServerFailed(ReliqError):
    """A server did not start, or did not do in time what it should; its log is in the message."""


class ServerProcess:
    """One process with its output, which is also in `log`.

    ready   the process is ready when it has printed a line that has one of these words
    """

    def __init__(self, command: Sequence[str | Path], *, ready: Sequence[str], log: Path) -> None:
        self.command = [str(word) for word in command]
        self.log = log
        self._ready = tuple(ready)
        self._lines: deque[str] = deque(maxlen=_LOG_LINES)
        self._seen = threading.Event()  # it is ready, or it has ended
        self._is_ready = False
        self._popen = subprocess.Popen(
            ["/bin/sh", "-c", _WITH_PARENT, "sh", *self.command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C in the terminal is ours, not the server's
        )
        self._reader = threading.Thread(target=self._read, name=f"log of {log.name}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def exit_status(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""
        return self._popen.poll()

    def await_ready(self, seconds: float = 10.0) -> None:
        """`ServerFailed`, after a kill, with what it printed, if it ends or is not ready by then."""
        self._seen.wait(seconds)
        if self._is_ready:
            return
        why = f"did not get ready within {seconds:.0f} s"
        if self.exit_status is not None:
            why = f"ended with status {self.exit_status}"
        self.end(signal.SIGKILL)
        raise ServerFailed(f"{' '.join(self.command)} {why}; it printed:\n{self.tail()}")

    def send(self, signum: int) -> None:
        """Send a signal to it, if it still runs."""
        if self.exit_status is None:
            self._popen.send_signal(signum)

    def end(self, signum: int, *, seconds: float = 10.0) -> int:
        """Send a signal that ends it, wait for that (then SIGKILL), and give its exit status."""
        self.send(signum)
        try:
            self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait(seconds)
        self._dismiss_reader()
        self._reader.join(seconds)
        return self._popen.returncode

    def tail(self, lines: int = 40) -> str:
        """The end of its output."""
        return "\n".join(list(self._lines)[-lines:])

    def _dismiss_reader(self) -> None:
        pipe = self._popen.stdin
        if pipe is not None and not pipe.closed:
            try:
                pipe.write(b"ended\n")
                pipe.close()
            except OSError:  # it is gone as well
                pass

    def _read(self) -> None:
        pipe = self._popen.stdout
        assert pipe is not None
        with open(self.log, "ab") as log, pipe:
            for line in pipe:
                log.write(line)
                log.flush()
                self._lines.append(line.decode(errors="replace").rstrip())
                if not self._is_ready and any(word in self._lines[-1] for word in self._ready):
                    self._is_ready = True
                    self._seen.set()
        self._seen.set()


def until(condition: Callable[[], bool], *, seconds: float, what: Callable[[], str]) -> None:
    """Ask again and again: what other processes agree upon among themselves is signalled to nobody.

    `ServerFailed` with `what()` after `seconds`.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise ServerFailed(f"after {seconds:.0f} s: {what()}")
        time.sleep(0.01)
