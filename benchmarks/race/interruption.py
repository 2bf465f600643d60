"""Ctrl-C, SIGTERM and SIGHUP end a run through every `finally`, and never between a process's start and its record."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Interruption:
    """The process's signals are one thing, so this is too."""

    def __init__(self) -> None:
        self._deferring = 0
        self._pending: int | None = None
        self._raised = False

    @contextmanager
    def ending(self) -> Iterator[None]:
        """The first signal raises where it comes; later ones change nothing: everything is being ended already."""
        self._pending, self._raised = None, False
        before = {signum: signal.signal(signum, self._on_signal) for signum in _SIGNALS}
        try:
            yield
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """A signal that comes in the block raises at its end."""
        self._deferring += 1
        try:
            yield
        finally:
            self._deferring -= 1
        if self._pending is not None and not self._deferring:
            self._raise(self._pending)

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        if self._deferring:
            self._pending = signum
        else:
            self._raise(signum)

    def _raise(self, signum: int) -> None:
        if self._raised:
            return
        self._raised = True
        raise KeyboardInterrupt if signum == signal.SIGINT else SystemExit(128 + signum)


_interruption = _Interruption()
ending_on_signals = _interruption.ending
deferred = _interruption.deferred
