"""The random walk of QueueOnce over the model, memory and SQLite; with `-m full` long, and over Redis too."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from reliq.plugins import open_engine
from reliq.ports.values import Capabilities
from reliq.testing import VirtualClock
from reliq.testing.contracts.model import Model
from tests.plugins.once.walking import OnceWalk


class Plain(Model):
    """The model of a broker, as an app uses one."""

    capabilities = Capabilities("model", engine=True)

    def close(self) -> None: ...


class Walk(OnceWalk):
    def open(self, clock: VirtualClock) -> list[Any]:
        self.folder = tempfile.TemporaryDirectory()
        sqlite = f"sqlite:///{self.folder.name}/reliq.db?durability=off"
        return [Plain(clock), *(open_engine(url, app="walk", clock=clock) for url in ("memory://", sqlite))]

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self.folder.cleanup()


SHARED = settings(
    deadline=None,
    database=None,
    print_blob=True,
    report_multiple_bugs=False,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)


QUICK = settings(SHARED, max_examples=120, stateful_step_count=50, derandomize=True)
LONGEST = settings(SHARED, max_examples=int(os.environ.get("RELIQ_TEST_WALKS", "0")) or 500)


@pytest.mark.timeout(600)  # a failure is made small before it is told, which takes up to five minutes
class TestWalk(Walk.TestCase):  # type: ignore[misc]
    settings = QUICK


@pytest.mark.full
@pytest.mark.timeout(36_000)
class TestLongWalk(Walk.TestCase):  # type: ignore[misc]
    """500 walks; `nox -s once_walk` takes 20,000."""

    settings = settings(LONGEST, stateful_step_count=50)


@pytest.mark.full
@pytest.mark.timeout(3_600)
def test_redis_walks_along(reliq_redis):
    """Beside the memory engine, which the others have been compared with."""

    class OnRedis(OnceWalk):
        def open(self, clock: VirtualClock) -> list[Any]:
            reliq_redis.flush()
            return [open_engine(url, app="walk", clock=clock) for url in ("memory://", reliq_redis.url)]

    run_state_machine_as_test(OnRedis, settings=settings(SHARED, max_examples=100, stateful_step_count=50))
