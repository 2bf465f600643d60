"""What happened to keys in this process, as numbers for whoever exports metrics."""

from __future__ import annotations

import threading
from collections.abc import Mapping

NAMES = ("joins", "replays", "conflicts", "mismatches", "stale_completions")


class Counters:
    """Counts since the process began.

    joins              second sends that were given the handle of a message that had not ended
    replays            second sends and runs that were given a stored result or failure
    conflicts          second sends that were refused, and runs that found another message unfinished
    mismatches         sends and runs whose key was used with other arguments
    stale_completions  runs that ended after their message was taken from them; their result was refused
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(NAMES, 0)

    def add(self, name: str) -> None:
        with self._lock:
            self._counts[name] += 1

    def snapshot(self) -> Mapping[str, int]:
        """The counts as they stand."""
        with self._lock:
            return dict(self._counts)
