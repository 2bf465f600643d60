"""How a worker runs; plain data, because each child is given a copy of it."""

from __future__ import annotations

import os

import msgspec

from reliq.errors import OptionError
from reliq.policy.kinds import SHORTEST_LEASE


class WorkerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Durations are seconds.

    queues               (name, weight) pairs; equal weights are fair, else a queue is asked first by its weight
    concurrency          children; 0 means one for each core
    threads              slots in each child; one slot is the child's main thread, so that signals interrupt it
    async_slots          async tasks at once in each child
    lease, renew_every   how long the broker waits for a renewal, and how often it gets one (default: min(lease/3, 2);
                         min(lease/3, 4) while nothing is in hand)
    grace                what running tasks get at a warm shutdown; the worker is gone 3 s after it
    prefetch             the most messages a child takes at once; it takes as many as about 20 ms of work
    max_memory_per_child KiB of resident memory after which a child is replaced when it has finished its tasks
    sweep                how often dead owners, due messages and expiries are looked for
    watchdog             a child that could claim and has not for so long is replaced
    health               the path of the health file; None: in the runtime folder
    """

    app: str = ""
    queues: tuple[tuple[str, float], ...] = (("default", 1.0),)
    concurrency: int = 0
    threads: int = 1
    async_slots: int = 1000
    lease: float = 30.0
    renew_every: float | None = None
    grace: float = 25.0
    prefetch: int = 200
    max_tasks_per_child: int | None = None
    max_memory_per_child: int | None = None
    sweep: float = 3.0  # with a grace of one renewal a dead host is found within lease + 5 s
    watchdog: float = 60.0
    health: str | None = None
    log_level: str = "info"
    log_format: str = "text"

    def __post_init__(self) -> None:
        for name in ("threads", "async_slots", "prefetch", "sweep", "watchdog"):
            if getattr(self, name) <= 0:
                raise OptionError(f"worker option {name}={getattr(self, name)!r} must be above 0")
        for name in ("concurrency", "grace"):
            if getattr(self, name) < 0:
                raise OptionError(f"worker option {name}={getattr(self, name)!r} must not be below 0")
        if self.lease < SHORTEST_LEASE:
            raise OptionError(
                f"worker option lease={self.lease!r} must be at least {SHORTEST_LEASE:g} s: a shorter one would take "
                "tasks from workers that are merely busy"
            )
        if not self.queues:
            raise OptionError("a worker needs at least one queue")
        if self.renew_every is not None and not 0 < self.renew_every <= self.lease / 2:
            raise OptionError(
                f"worker option renew_every={self.renew_every!r} must be above 0 and at most half the lease, "
                f"which is {self.lease:g} s"
            )

    @property
    def children(self) -> int:
        return self.concurrency or os.cpu_count() or 1

    @property
    def renewal(self) -> float:
        return self.renew_every if self.renew_every is not None else min(self.lease / 3, 2.0)

    @property
    def idle_renewal(self) -> float:
        """While nothing is in hand that could be asked to stop; never longer than a third of a lease."""
        return self.renew_every if self.renew_every is not None else min(self.lease / 3, 4.0)


def parse_queues(text: str) -> tuple[tuple[str, float], ...]:
    """`a,b` or `a=3,b=1` as (name, weight) pairs."""
    pairs: list[tuple[str, float]] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, weight = part.partition("=")
        try:
            value = float(weight) if weight else 1.0
        except ValueError:
            value = 0.0
        if not name or not 0 < value < 1e6:
            raise OptionError(f"-Q {text!r}: {part!r} is not NAME or NAME=WEIGHT with a weight above 0")
        if name in (known for known, _ in pairs):
            raise OptionError(f"-Q {text!r} names the queue {name!r} twice")
        pairs.append((name, value))
    if not pairs:
        raise OptionError("-Q needs at least one queue")
    return tuple(pairs)
