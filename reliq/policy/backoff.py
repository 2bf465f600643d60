"""How long to wait before the next attempt."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from reliq.errors import OptionError


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential back-off, in seconds; by default full jitter in (0, min(900, 2^n)], never under half a second.

    base    the longest first wait
    factor  by which the longest wait grows with every retry; 1 keeps it
    max     its end
    floor   the shortest wait, whatever the jitter says; it wins over `max`
    jitter  "full": anywhere between nothing and the longest wait, so that a crowd that failed together does not come
            back together; "none": the longest wait itself
    """

    base: float = 1.0
    factor: float = 2.0
    max: float = 900.0
    floor: float = 0.5
    jitter: Literal["full", "none"] = "full"

    def __post_init__(self) -> None:
        for name in ("base", "max", "floor"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise OptionError(f"Backoff({name}={getattr(self, name)!r}): a number of seconds, 0 or more")
        if not 1 <= self.factor < float("inf"):
            raise OptionError(f"Backoff(factor={self.factor!r}): 1 or more, or waits would shrink")
        if self.jitter not in ("full", "none"):
            raise OptionError(f"Backoff(jitter={self.jitter!r}): 'full' or 'none'")

    def longest(self, retries: int) -> float:
        """The longest wait after `retries` retries so far (0 before the first)."""
        try:
            return min(self.max, self.base * self.factor**retries)
        except OverflowError:
            return self.max

    def delay(self, retries: int, rng: random.Random) -> float:
        """Seconds to wait before the next retry, `retries` being those made so far."""
        wait = self.longest(retries)
        if self.jitter == "full":
            wait *= 1.0 - rng.random()  # random() is in [0, 1), so this is in (0, wait]
        return max(self.floor, wait)


AFTER_CRASH = Backoff(max=4.0, floor=0.0, jitter="none")
"""After the process of a running task died: 1, 2, 4 seconds.  No jitter: such a message is claimed alone anyway."""


def from_celery(
    retry_backoff: bool | float = False,
    retry_backoff_max: float = 600,
    retry_jitter: bool = True,
    default_retry_delay: float | timedelta = 180,
) -> Backoff:
    """Celery's retry options as a Backoff.

    Without `retry_backoff` every wait is `default_retry_delay`; with it `retry_backoff * 2^n` (True is 1) up to
    `retry_backoff_max`, jittered unless `retry_jitter=False`.  One difference: a jittered wait is never under half a
    second, where Celery's may be none.
    """
    if isinstance(default_retry_delay, timedelta):
        default_retry_delay = default_retry_delay.total_seconds()
    if not retry_backoff:
        return Backoff(
            base=default_retry_delay, factor=1.0, max=default_retry_delay, floor=0.0, jitter="none"
        )
    base = max(1.0, float(retry_backoff))
    jitter: Literal["full", "none"] = "full" if retry_jitter else "none"
    return Backoff(base=base, max=retry_backoff_max, floor=0.5 if retry_jitter else 0.0, jitter=jitter)
