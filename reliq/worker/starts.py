"""Children that die of themselves: replaced more and more slowly, and when none can even begin, given up."""

from __future__ import annotations

import logging
import signal
import sys
import time

from reliq.worker.outage import FIRST, MOST
from reliq.worker.process import ChildProcess

logger = logging.getLogger("reliq.worker")

MOST_FAILURES = 5  # children in a row that died before their first claim
OWN_CODES = frozenset({3, 4})  # exit codes of a child that are also the worker's: broker, app


class FailedStarts:
    """Counts; `next_at` (monotonic) is the earliest moment for the next child."""

    def __init__(self) -> None:
        self.next_at = 0.0
        self._in_a_row = 0
        self._unborn = 0

    def refused(self) -> float:
        """The system gave no process; the seconds to wait before the next try."""
        self._in_a_row += 1
        pause = min(MOST, FIRST * 2.0 ** min(self._in_a_row, 10))
        self.next_at = time.monotonic() + pause
        return pause

    def ended(self, child: ChildProcess, code: int, *, by_a_task: bool, others_work: bool) -> int:
        """Note a death that was not ours; the exit code with which to give up, or 0."""
        now = time.monotonic()
        claims, _, _ = child.board.counts
        if child.ended_well(code) or by_a_task or (claims and now - child.began > MOST):
            self._in_a_row = self._unborn = 0
            return 0
        self._in_a_row += 1
        self._unborn = 0 if claims or others_work else self._unborn + 1
        self.next_at = now + min(MOST, FIRST * 2.0 ** min(self._in_a_row, 10))
        words = child.early_words().strip()
        if words and not child.board.ready:
            sys.stderr.write(words + "\n")
            sys.stderr.flush()
        if self._unborn < MOST_FAILURES:
            return 0
        logger.error(
            "%d children in a row died before their first claim; giving up. Child %d %s, its last words:\n%s",
            self._unborn,
            child.pid,
            how(code),
            words or "(none)",
            extra={"event": "crash_loop"},
        )
        return code if code in OWN_CODES else 1


def how(code: int) -> str:
    """A return code in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
