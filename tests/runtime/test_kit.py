"""The test kit: the harness, its fixture, and what a missing package says."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from reliq import Reliq, ReliqError, Retry, plugins
from reliq.errors import MissingExtra
from reliq.testing import Harness


def test_the_fixture_opens_a_harness_for_one_test(reliq_harness):
    app = Reliq("shop", broker="memory://")
    task = app.task(name="t")(lambda: 1)
    harness = reliq_harness(app)
    handle = task.delay()
    assert harness.run_one().state == "done" and handle.get(0) == 1
    assert harness.run_one() is None and harness.crash() is None


def test_harnesses_nest_and_give_the_app_back_as_it_was():
    app = Reliq("shop", broker="memory://")
    task = app.task(name="t")(lambda: 1)
    with Harness(app) as outer:
        task.delay()
        with Harness(app) as inner:
            assert inner.run_until_idle() == 0
        assert outer.run_until_idle() == 1


def test_a_clock_moved_by_days_neither_loses_the_worker_nor_a_message(app, harness):
    runs = []
    task = app.task(name="t")(lambda: Retry(86_400) if not runs.append(1) and len(runs) < 3 else None)
    handle = task.delay()
    harness.run_until_idle(advance=True)
    assert handle.successful() and harness.clock.now_ms() - handle.record().published >= 2 * 86_400_000


def test_work_without_end_is_told_rather_than_run_for_ever(app, harness):
    task = app.task(name="t")(lambda: task.delay() and None)
    task.delay()
    with pytest.raises(ReliqError, match="Still not idle after 20 runs"):
        harness.run_until_idle(limit=20)


def test_a_plug_in_whose_package_is_missing_says_what_to_install(monkeypatch):
    point = EntryPoint("tracing", "no_such_module:Thing", "reliq.plugins")
    monkeypatch.setattr(plugins, "installed", lambda: {"tracing": point})
    monkeypatch.setitem(plugins.EXTRAS, "no_such_module", "otel")
    app = Reliq("shop", broker="memory://", middleware=["tracing"])
    with pytest.raises(MissingExtra, match=r"pip install 'reliq-queue\[otel\]'"):
        _ = app.middleware
