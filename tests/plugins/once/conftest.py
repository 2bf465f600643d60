"""An app on an engine, with a worker only where a test has one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from reliq import Reliq
from reliq.ports import records
from reliq.testing import Harness
from reliq_once import QueueOnce


class Bench:
    def __init__(self, engine, clock, middleware=(), **settings) -> None:
        self.engine = engine
        self.clock = clock
        self.app = Reliq("shop", broker="memory://", middleware=list(middleware), park_for=90, **settings)
        self.harness = Harness(self.app, clock=clock, engine=engine)

    def task(self, body=lambda *a, **k: None, *, base=QueueOnce, name="work", **options):
        return self.app.task(name=name, base=base, **options)(body)

    def locks(self) -> list[str]:
        """Who holds locks."""
        return [value.holder for _, value in sorted(records(self.engine, "once:"))]

    def slots(self) -> list[str]:
        return [value.holder for _, value in sorted(records(self.engine, "once-slot:"))]

    def claim(self):
        """The next delivery, taken and not begun."""
        (delivery,) = self.harness.claim().deliveries
        return delivery

    def run(self, **options: Any) -> int:
        return self.harness.run_until_idle(**options)

    @property
    def counters(self):
        return QueueOnce.middleware[0].counters


@pytest.fixture
def make_bench(engine, clock) -> Iterator[Callable[..., Bench]]:
    QueueOnce.middleware[0].counters.clear()
    with ExitStack() as stack:

        def make(middleware=(), **settings) -> Bench:
            bench = Bench(engine, clock, middleware, **settings)
            stack.enter_context(bench.harness)
            return bench

        yield make


@pytest.fixture
def bench(make_bench) -> Bench:
    return make_bench()
