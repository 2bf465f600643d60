"""One PostgreSQL for the tests of a process, a new database for each test; and an app on the memory engine."""

from __future__ import annotations

import pytest

from reliq import Reliq
from reliq.testing import Harness
from reliq_idempotency import Idempotency
from tests.plugins.inbox.postgres import Postgres


@pytest.fixture(scope="session")
def postgres():
    server = Postgres()
    yield server
    server.close()


@pytest.fixture
def dsn(postgres):
    return postgres.database()


class Bench:
    """An app whose tasks use an inbox."""

    def __init__(self) -> None:
        self.app = Reliq("shop", broker="memory://", middleware=[Idempotency()])
        self.harness = Harness(self.app)

    def task(self, body, **options):
        return self.app.task(name="work", idempotency={"keys": ["order"]}, **options)(body)

    def lost_settlement(self) -> None:
        """Run the next message; its worker dies before the broker hears of it."""
        from reliq.worker.job import Job

        claimed = self.harness.claim()
        job = self.harness.runner.open(claimed.deliveries[0])
        assert isinstance(job, Job)
        if job.is_async:
            import asyncio

            asyncio.run(self.harness.runner.arun(job))
        else:
            self.harness.runner.run(job)
        receipt = claimed.deliveries[0].receipt
        self.harness.engine.bury(receipt.owner, started=[receipt])
        self.harness._register()


@pytest.fixture
def bench():
    bench = Bench()
    with bench.harness:
        yield bench
