"""The real runtime on the memory engine with a virtual clock: fast, deterministic, no processes.

with Harness(app) as harness:
    handle = rebuild.delay(7)
    harness.run_until_idle()
    assert handle.state == "SUCCESS"
    harness.clock.advance(3600)
"""

from __future__ import annotations

import asyncio
import itertools
from types import TracebackType
from typing import TYPE_CHECKING, Any

from reliq.errors import ReliqError
from reliq.policy.clock import VirtualClock
from reliq.policy.ids import new_id
from reliq.ports.values import Claimed, Delivery, Record, Settlement
from reliq.worker.job import Job
from reliq.worker.runner import Runner

if TYPE_CHECKING:
    from reliq.app import Reliq
    from reliq.ports.broker import Engine

LEASE = 30.0


class Harness:
    """Runs an app's messages in this process, on an engine of its own.

    engine  the engine to use; by default a fresh memory engine on a virtual clock
    """

    def __init__(
        self, app: Reliq, *, clock: VirtualClock | None = None, engine: Engine | None = None
    ) -> None:
        self.app = app
        self.clock = clock or VirtualClock()
        self._given = engine
        self._restore: Any = None
        self.engine: Engine
        self.runner: Runner
        self._seq = itertools.count(1)
        self._owner = ""

    def __enter__(self) -> Harness:
        from reliq.plugins import open_engine

        self.engine = self._given or open_engine("memory://", app=self.app.name, clock=self.clock)
        self._restore = self.app.use_engine(self.engine, self.clock)
        self.runner = Runner(self.app)
        self._register()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore()
        if self._given is None:
            self.engine.close()

    def _register(self) -> None:
        self._owner = new_id()
        self._seq = itertools.count(1)
        self.engine.register(self._owner, LEASE, {"kind": "harness"})

    def claim(self, limit: int = 1) -> Claimed:
        """Claim as a worker would; due messages are promoted, nothing is waited for."""
        self.engine.renew(self._owner, LEASE)  # first: the clock may have been moved by more than a lease
        self.engine.reap(grace=LEASE)
        return self.engine.claim(self._owner, self.engine.queues(), limit=limit, seq=next(self._seq))

    def run_one(self) -> Record | None:
        """Run the next ready message to its settlement; its record, or None when nothing is ready."""
        claimed = self.claim()
        if not claimed.deliveries:
            return None
        delivery = claimed.deliveries[0]
        self.settle(delivery)
        return self.engine.get(delivery.receipt.id)

    def settle(self, delivery: Delivery) -> Settlement:
        """Run one delivery and apply its settlement; what was applied."""
        job = self.runner.open(delivery)
        if not isinstance(job, Job):
            self.engine.settle([job])
            return job
        settlement = asyncio.run(self.runner.arun(job)) if job.is_async else self.runner.run(job)
        answer = self.engine.settle([settlement])[0]
        kept = job.kept()
        if kept is not None:
            self.runner.settled(kept, answer, settlement)
        return settlement

    def run_until_idle(self, *, advance: bool = False, limit: int = 10_000) -> int:
        """Run until nothing is ready; how many runs that took.

        advance  move the clock to the next due time whenever nothing is ready, until nothing is due either
        limit    runs after which it gives up with `ReliqError`: something publishes or retries without end
        """
        runs = 0
        while True:
            claimed = self.claim()
            for delivery in claimed.deliveries:
                self.settle(delivery)
                runs += 1
            if runs > limit:
                raise ReliqError(
                    f"Still not idle after {limit} runs; a task publishes or retries without end"
                )
            if claimed.deliveries:
                continue
            due = self._next_due() if advance else None
            if due is None:
                return runs
            self.clock.advance(max(0.001, (due - self.clock.now_ms()) / 1000))

    def crash(self, *, started: bool = True) -> Record | None:
        """Claim the next message, start it and die: what a killed worker leaves behind; the record after the bury."""
        claimed = self.claim()
        if not claimed.deliveries:
            return None
        receipt = claimed.deliveries[0].receipt
        self.engine.bury(self._owner, started=[receipt] if started else [])
        self._register()
        return self.engine.get(receipt.id)

    def _next_due(self) -> int | None:
        waiting = self.engine.list(states=("due",), limit=10_000)
        return min((record.due for record in waiting), default=None)
