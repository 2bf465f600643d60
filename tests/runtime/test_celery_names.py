"""Every row of the tables of Celery's names: what works has an effect, what does not says what to do."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from reliq import Reliq, Task, current
from reliq.compat import CALL_OPTIONS, TASK_OPTIONS
from reliq.errors import OptionError
from reliq.testing import Harness
from reliq.wire.codec import decode


class Base(Task):
    pass


def queued(task, **options):
    return task.apply_async(**options).record()


def runs_of(body, **options):
    """How often a task with these options runs, and the waits between, in seconds."""
    app = Reliq("shop", broker="memory://")
    task = app.task(name="t", **options)(body)
    waits = []
    with Harness(app) as harness:
        handle = task.delay()
        while (record := harness.run_one()).state == "due":
            waits.append((record.due - harness.clock.now_ms()) / 1000)
            harness.clock.advance(waits[-1])
    return handle, waits


def boom(*_):
    raise OSError("x")


def test_the_retry_options_work():
    every = {"autoretry_for": (Exception,)}
    assert len(runs_of(boom, **every)[1]) == 3
    assert len(runs_of(boom, **every, max_retries=1)[1]) == 1
    assert runs_of(boom, **every, dont_autoretry_for=(OSError,))[1] == []
    assert runs_of(boom, **every, default_retry_delay=9)[1] == [9, 9, 9]
    assert runs_of(boom, **every, retry_kwargs={"max_retries": 2, "countdown": 4})[1] == [4, 4]
    assert runs_of(boom, **every, retry_backoff=3, retry_jitter=False)[1] == [3, 6, 12]
    assert runs_of(boom, **every, retry_backoff=3, retry_jitter=False, retry_backoff_max=5)[1] == [3, 5, 5]
    jittered = runs_of(boom, **every, retry_backoff=True, retry_jitter=True)[1]
    assert all(0.5 <= wait <= 2**n for n, wait in enumerate(jittered))


def test_the_options_that_say_how_a_task_is_called_work(app, harness, caplog):
    bound = app.task(bind=True, base=Base, name="named")(lambda self: self.request.id)
    assert isinstance(bound, Base) and bound.name == "named"
    handle = bound.delay()
    harness.run_until_idle()
    assert handle.get(0) == handle.id
    thrower = app.task(name="thrower", throws=(OSError,))(boom).delay()
    harness.run_until_idle()
    assert thrower.failed() and not [r for r in caplog.records if r.levelname == "ERROR"]


def test_the_options_that_a_message_carries_work(app, harness):
    task = app.task(name="t", queue="q", priority=4, expires=9, ignore_result=True)(lambda: 1)
    handle = task.delay()
    record, envelope = handle.record(), decode(handle.record().payload)
    assert (record.queue, record.priority, envelope.expires_in, envelope.keep_result) == (
        "q",
        4,
        9_000,
        False,
    )


def test_the_limits_work(app, harness):
    task = app.task(name="t", soft_time_limit=3, time_limit=5)(lambda: 1)
    task.delay()
    job = harness.runner.open(harness.claim().deliveries[0])
    assert (job.soft, job.hard) == (3, 5)


CALLS = {
    "countdown": (3, lambda e, now: e.delay == 3_000),
    "eta": (datetime(2030, 1, 1, tzinfo=UTC), lambda e, now: e.eta == 1_893_456_000_000),
    "expires": (3, lambda e, now: e.expires_in == 3_000),
    "priority": (3, lambda e, now: e.priority == 3),
    "queue": ("q", lambda e, now: e.queue == "q"),
    "headers": ({"a": "b"}, lambda e, now: e.headers == {"a": "b"}),
    "task_id": ("x", lambda e, now: e.id == "x"),
    "ignore_result": (True, lambda e, now: not e.keep_result),
    "time_limit": (3, lambda e, now: e.time_limit == 3),
    "soft_time_limit": (3, lambda e, now: e.soft_time_limit == 3),
    "root_id": ("r", lambda e, now: e.root == "r"),
    "parent_id": ("p", lambda e, now: e.parent == "p"),
    "link": (None, lambda e, now: e.on_end[0].on == "done" and len(e.on_end[0].follow_ups) == 1),
    "link_error": (None, lambda e, now: e.on_end[0].on == "failed" and len(e.on_end[0].follow_ups) == 1),
}


@pytest.mark.parametrize("name", [n for n, entry in CALL_OPTIONS.items() if entry.status == "works"])
def test_a_call_option_that_works_is_seen_in_the_message(app, harness, name):
    task = app.task(name="t")(lambda *a: 1)
    value, seen = CALLS[name]
    if value is None:
        value = task.s()
    assert seen(decode(queued(task, **{name: value}).payload), harness.clock.now_ms())


TESTED = {
    "autoretry_for", "dont_autoretry_for", "retry_kwargs", "retry_backoff", "retry_backoff_max", "retry_jitter",
    "default_retry_delay", "max_retries", "bind", "base", "name", "throws", "ignore_result", "time_limit",
    "soft_time_limit", "queue", "priority", "expires",
}  # fmt: skip


def test_every_task_option_that_works_has_its_test_above():
    assert {n for n, entry in TASK_OPTIONS.items() if entry.status == "works"} == TESTED


def rows(table, status):
    return [pytest.param(name, entry, id=name) for name, entry in table.items() if entry.status == status]


def define(app, options):
    return app.task(name="t", **options)(lambda: None)


def call(app, options):
    return app.task(name="t")(lambda: None).apply_async(**options)


@pytest.mark.parametrize(
    "use", [pytest.param((define, TASK_OPTIONS), id="task"), pytest.param((call, CALL_OPTIONS), id="call")]
)
def test_what_is_always_so_may_be_asked_for_and_nothing_else(app, harness, use):
    make, table = use
    for name, entry in table.items():
        if entry.status == "always":
            make(Reliq("fresh", broker="memory://"), {name: entry.values[0]})
            with pytest.raises(OptionError) as caught:
                make(app, {name: "something else"})
            assert name in str(caught.value) and entry.text in str(caught.value)


@pytest.mark.parametrize(
    "use", [pytest.param((define, TASK_OPTIONS), id="task"), pytest.param((call, CALL_OPTIONS), id="call")]
)
def test_what_is_not_possible_says_what_to_do_instead(app, harness, use):
    make, table = use
    for name, entry in table.items():
        if entry.status in ("use", "not_yet"):
            with pytest.raises(OptionError) as caught:
                make(app, {name: "x"})
            said = "is not there yet" if entry.status == "not_yet" else "has no meaning here"
            assert (
                repr(name) in str(caught.value)
                and said in str(caught.value)
                and entry.text in str(caught.value)
            )


def test_the_request_has_celery_s_names(app, harness):
    @app.task(bind=True)
    def work(self, a: int) -> list:
        r = self.request
        return [r.id == current().id, list(r.args), r.kwargs, r.retries, dict(r.headers)]

    handle = work.delay(3)
    harness.run_until_idle()
    assert handle.get(0) == [True, [3], {}, 0, {}]
