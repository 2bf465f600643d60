"""The contract of middleware, kept by QueueOnce and by the one in the documentation."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from reliq import Middleware, Observer
from reliq.testing import Harness
from reliq.testing.contracts import MiddlewareContract
from reliq_once import QueueOnceMiddleware

EXAMPLE = Path(__file__).parents[2] / "examples" / "middleware_budget.py"


def load_example():
    spec = importlib.util.spec_from_file_location("middleware_budget", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class OnEveryEngine(MiddlewareContract):
    @pytest.fixture
    def clock(self, clock):
        return clock

    @pytest.fixture
    def engine(self, engine):
        return engine


class TestQueueOnce(OnEveryEngine):
    options = {"once": {}}  # noqa: RUF012

    @pytest.fixture
    def middleware(self):
        return QueueOnceMiddleware()


class TestQueueOnceRerun(TestQueueOnce):
    options = {"once": {"on_conflict": "rerun"}}  # noqa: RUF012
    keeps = ("once-last:",)


class TestQueueOnceHold(TestQueueOnce):
    options = {"once": {"hold_on_failure": True, "timeout": 60}}  # noqa: RUF012
    keeps = ("once:",)


class TestBudget(OnEveryEngine):
    options = {"budget": 100}  # noqa: RUF012
    keeps = ("budget:",)

    @pytest.fixture
    def middleware(self):
        return load_example().Budget()


class TestNothing(MiddlewareContract):
    @pytest.fixture
    def middleware(self):
        return Middleware()


class Noisy(Observer):
    def publish(self, ctx):
        yield
        raise OSError("noisy")

    def around(self, ctx):
        yield
        raise OSError("noisy")

    def settled(self, ctx, ending):
        raise OSError("noisy")


class TestNoisyObserver(MiddlewareContract):
    @pytest.fixture
    def middleware(self):
        return Noisy()


def test_the_middleware_of_the_documentation_is_twenty_lines_of_public_names():
    source = EXAMPLE.read_text("utf-8")
    body = source[source.index("class Budget") : source.index("app = ")].strip()
    assert len(body.splitlines()) <= 20
    imports = [line for line in source.splitlines() if line.startswith("from ")]
    assert all(line.split()[1] in ("reliq", "reliq.ports", "reliq.testing") for line in imports)


def test_the_budget_holds_and_comes_back_the_next_day(monkeypatch):
    monkeypatch.delitem(sys.modules, "middleware_budget", raising=False)
    example = load_example()
    with Harness(example.app) as harness:
        jobs = [example.show.delay(n) for n in range(3)]
        harness.run_until_idle()
        assert [job.state for job in jobs] == ["SUCCESS", "SUCCESS", "IGNORED"]
        harness.clock.advance(86_401)
        job = example.show.delay(4)
        harness.run_until_idle()
        assert job.state == "SUCCESS"
