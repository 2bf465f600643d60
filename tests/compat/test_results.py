"""Every row of the results' tables."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from reliq.compat.results import GET_OPTIONS, RESULT_NAMES
from reliq.errors import CeleryNameError, OptionError, ResultTimeout, TaskFailed

NOW = datetime(2026, 1, 1, tzinfo=UTC)

# name -> what the handle of the ended message below gives
WORKS = {
    "id": lambda h: h.id == "i",
    "task_id": lambda h: h.task_id == "i",
    "get": lambda h: h.get(0) == 3,
    "ready": lambda h: h.ready(),
    "successful": lambda h: h.successful(),
    "failed": lambda h: h.failed() is False,
    "state": lambda h: h.state == "SUCCESS",
    "status": lambda h: h.status == "SUCCESS",
    "result": lambda h: h.result == 3,
    "info": lambda h: h.info == 3,
    "traceback": lambda h: h.traceback is None,
    "forget": lambda h: h.forget() is True and h.result is None,
    "revoke": lambda h: h.revoke() is None and h.successful(),
    "wait": lambda h: h.wait(0).state == "done",
    "date_done": lambda h: h.date_done == NOW,
    "name": lambda h: h.name == "add",
    "args": lambda h: h.args == [1],
    "kwargs": lambda h: h.kwargs == {"b": 2},
    "queue": lambda h: h.queue == "q",
    "retries": lambda h: h.retries == 0,
    "worker": lambda h: bool(h.worker),
    "parent": lambda h: h.parent is not None and h.parent.id == "p",
    "ignored": lambda h: h.ignored is False,
    "app": lambda h: h.app.name == "shop",
}


@pytest.fixture
def task(app):
    def add(a: int, b: int) -> int:
        return a + b

    return app.task(name="add")(add)


@pytest.mark.parametrize("name", WORKS)
def test_a_name_that_works_tells_of_an_ended_message(app, harness, task, name):
    handle = task.apply_async((1,), {"b": 2}, task_id="i", queue="q", parent_id="p")
    harness.run_until_idle()
    assert WORKS[name](handle)


def test_every_name_that_works_has_its_test():
    assert {name for name, entry in RESULT_NAMES.items() if entry.status == "works"} == WORKS.keys()


def test_what_waits_is_not_done_and_nobody_had_it(app, harness, task):
    handle = task.delay(1, 2)
    assert (handle.date_done, handle.worker, handle.parent, handle.info) == (None, None, None, None)


def test_revoke_drops_what_waits(app, harness, task):
    handle = task.delay(1, 2)
    handle.revoke()
    assert handle.state == "REVOKED"


def test_what_nobody_knows_of_has_no_name_and_no_arguments(app, harness):
    handle = app.AsyncResult("nobody")
    assert [handle.name, handle.args, handle.kwargs, handle.queue, handle.retries, handle.worker] == [
        None
    ] * 6
    assert handle.ignored is False


def test_a_failure_has_its_traceback(app, harness):
    def boom():
        raise OSError("x")

    handle = app.task(name="boom")(boom).delay()
    harness.run_until_idle()
    assert "OSError: x" in handle.traceback and isinstance(handle.info, TaskFailed)


@pytest.mark.parametrize("name", [n for n, entry in RESULT_NAMES.items() if entry.status != "works"])
def test_a_name_that_is_not_there_says_what_to_use(app, harness, name):
    with pytest.raises(CeleryNameError) as caught:
        getattr(app.handle("x"), name)
    assert f"handle.{name}" in str(caught.value) and RESULT_NAMES[name].text in str(caught.value)
    assert not hasattr(app.handle("x"), name)


def test_the_options_of_get_that_work(app, harness, task):
    with pytest.raises(ResultTimeout):
        task.delay(1, 2).get(timeout=0)
    failed = app.task(name="boom")(lambda: 1 / 0).delay()
    harness.run_until_idle()
    assert isinstance(failed.get(0, propagate=False), TaskFailed)
    assert {n for n, entry in GET_OPTIONS.items() if entry.status == "works"} == {"timeout", "propagate"}


@pytest.mark.parametrize("name", [n for n, entry in GET_OPTIONS.items() if entry.status != "works"])
def test_an_option_of_get_that_is_not_there_says_what_to_do(app, harness, task, name):
    entry = GET_OPTIONS[name]
    handle = task.delay(1, 2)
    harness.run_until_idle()
    with pytest.raises(OptionError) as caught:
        handle.get(0, **{name: "something"})
    assert name in str(caught.value) and entry.text in str(caught.value)
    for value in entry.values:
        assert handle.get(0, **{name: value}) == 3


def test_an_option_of_get_that_nobody_has_names_the_nearest(app, harness, task):
    with pytest.raises(OptionError, match="no option 'intervall'; did you mean 'interval'"):
        task.delay(1, 2).get(0, intervall=1)
