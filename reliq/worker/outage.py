"""What to do while the broker cannot be reached: the one reconnect state machine of the worker."""

from __future__ import annotations

import logging
import random

from reliq.errors import BrokerFull
from reliq.worker import posix

logger = logging.getLogger("reliq.worker")

# Within 5 s of the broker's return everybody is to consume: after a pause, and with a new connection.
FIRST, MOST = 0.1, 3.0


class Outage:
    """Counts failures in a row and spreads the next tries: full jitter between 0.1 s and 0.1 * 2^n, at most 3 s.

    One line is logged when the broker cannot be reached or has no room left, one when that becomes the other, and one
    when it is over.
    """

    def __init__(self, who: str, rng: random.Random | None = None) -> None:
        self._who = who
        self._rng = rng or random.Random()
        self._failures = 0
        self._since = 0.0
        self._full = False

    @property
    def going_on(self) -> bool:
        return self._failures > 0

    def failed(self, error: BaseException) -> float:
        """Note a failure; the seconds to wait before the next try."""
        full = isinstance(error, BrokerFull)
        if not self._failures:
            self._since = posix.boottime()
        if not self._failures or full is not self._full:
            self._full = full
            logger.warning(
                "%s: broker %s, trying again: %s",
                self._who,
                "full" if full else "unreachable",
                error,
                extra={"event": "broker_full" if full else "broker_lost"},
            )
        self._failures += 1
        return self._rng.uniform(FIRST, max(FIRST, min(MOST, FIRST * 2.0 ** min(self._failures, 10))))

    def over(self) -> bool:
        """Note a success; True when it ends an outage."""
        if not self._failures:
            return False
        self._failures = 0
        logger.warning(
            "%s: broker %s again after %.1f s",
            self._who,
            "has room" if self._full else "reached",
            posix.boottime() - self._since,
            extra={"event": "broker_back"},
        )
        return True
