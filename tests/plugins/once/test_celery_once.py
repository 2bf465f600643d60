"""What celery-once's users wrote goes on working: its configuration, its options, the examples of its README.

The examples stand here as they are in that README, except the imports, the app's class and its broker, `sleep` (nobody
waits in a test), and `args=(10)`, which is no tuple in Python and fails with celery-once as well.
"""

from __future__ import annotations

import types

import pytest

from reliq import Reliq
from reliq.errors import ConfigError, OptionError, UnknownSetting
from reliq.ports import records
from reliq.testing import Harness
from reliq_once import AlreadyQueued, QueueOnce

ONCE = {
    "backend": "celery_once.backends.Redis",
    "settings": {"url": "redis://localhost:6379/0", "default_timeout": 60 * 60},
}


def sleep(seconds: float) -> None:
    """The examples' work."""


@pytest.fixture
def celery():
    celery = Reliq("tasks", broker="memory://")
    celery.conf.ONCE = {
        "backend": "celery_once.backends.Redis",
        "settings": {"url": "redis://localhost:6379/0", "default_timeout": 60 * 60},
    }
    return celery


# --- the README ---


def test_usage(celery):
    @celery.task(name="slow_task", base=QueueOnce)
    def slow_task():
        sleep(30)
        return "Done!"

    @celery.task(name="example", base=QueueOnce)
    def example(time):
        sleep(time)

    with Harness(celery) as harness:
        result = slow_task.delay()
        harness.run_until_idle()
        assert result.get(timeout=0) == "Done!"

        example.delay(10)
        with pytest.raises(AlreadyQueued):
            example.delay(10)
        harness.run_until_idle()

        result = example.apply_async(args=(10,))
        with pytest.raises(AlreadyQueued):
            result = example.apply_async(args=(10,))


def test_graceful(celery):
    @celery.task(name="example", base=QueueOnce)
    def example(time):
        sleep(time)

    @celery.task(name="slow_task", base=QueueOnce, once={"graceful": True})
    def slow_task():
        sleep(30)
        return "Done!"

    with Harness(celery):
        example.delay(10)
        # Either catch the exception,
        try:
            example.delay(10)
        except AlreadyQueued:
            pass
        else:
            raise AssertionError("it was queued twice")
        # Or, handle it gracefully at run time.
        result = example.apply_async(args=(10,), once={"graceful": True})
        assert (result.state, result.id) == ("REJECTED", None)
        # or by default.
        slow_task.delay()
        assert slow_task.delay().state == "REJECTED"


def test_keys(celery):
    @celery.task(name="example", base=QueueOnce, once={"keys": ["a"]})
    def example(a, b):
        sleep(30)
        return a + b

    with Harness(celery):
        example.delay(1, 1)
        # Checks if any tasks are running with the `a=1`
        with pytest.raises(AlreadyQueued):
            example.delay(1, 2)
        example.delay(2, 2)


def test_no_keys(celery):
    @celery.task(name="example", base=QueueOnce, once={"keys": []})
    def example(a, b):
        sleep(30)
        return a + b

    with Harness(celery):
        # Will enforce only one task can run, no matter what arguments.
        example.delay(1, 1)
        with pytest.raises(AlreadyQueued):
            example.delay(2, 2)


def test_timeout(celery):
    @celery.task(name="long_running_task", base=QueueOnce, once={"timeout": 60 * 60 * 10})
    def long_running_task():
        sleep(60 * 60 * 3)

    with Harness(celery) as harness:
        long_running_task.delay()
        harness.clock.advance(60 * 60 * 10 - 1)
        with pytest.raises(AlreadyQueued) as caught:
            long_running_task.delay()
        assert caught.value.countdown == 1
        harness.clock.advance(1)
        long_running_task.delay()


def test_unlock_before_run(celery):
    seen = []

    @celery.task(name="slow_task", base=QueueOnce, once={"unlock_before_run": True})
    def slow_task():
        seen.append(sorted(records(harness.engine, "once:")))
        sleep(30)
        return "Done!"

    with Harness(celery) as harness:
        slow_task.delay()
        harness.run_until_idle()
        assert seen == [[]]


def test_calling_a_task_directly_is_not_affected(celery):
    @celery.task(name="add", base=QueueOnce)
    def add(a, b):
        return a + b

    with Harness(celery) as harness:
        add.delay(1, 1)
        assert add(1, 1) == 2 and add.apply((1, 1)).get() == 2
        assert len(sorted(records(harness.engine, "once:"))) == 1


def test_a_bound_task_s_self_is_no_argument(celery):
    @celery.task(name="work", base=QueueOnce, bind=True, once={"keys": ["a"]})
    def work(self, a):
        return self.name

    with Harness(celery):
        work.delay(1)
        with pytest.raises(AlreadyQueued):
            work.delay(a=1)


# --- its configuration ---


def timeout_of(app: Reliq) -> float:
    task = app.task(name=f"probe-{len(app.tasks)}", base=QueueOnce)(lambda: None)
    with Harness(app) as harness:
        task.delay()
        with pytest.raises(AlreadyQueued) as caught:
            task.delay()
        assert harness.engine.audit().accepted == 1
        return caught.value.countdown


def test_the_default_timeout_is_an_hour():
    assert timeout_of(Reliq("shop", broker="memory://")) == 3600


def test_the_default_timeout_is_that_of_once_before_and_after_the_first_task():
    once = {**ONCE, "settings": {"default_timeout": 50}}
    early = Reliq("early", broker="memory://")
    early.conf.ONCE = once
    assert timeout_of(early) == 50
    late = Reliq("late", broker="memory://")
    late.task(name="first", base=QueueOnce)(lambda: None)
    late.conf.ONCE = once
    assert timeout_of(late) == 50 and late.conf.ONCE.settings.default_timeout == 50


@pytest.mark.parametrize("namespace", [None, "CELERY"])
def test_once_is_read_from_a_module(namespace):
    module = types.ModuleType("settings")
    setattr(module, "CELERY_ONCE" if namespace else "ONCE", {"settings": {"default_timeout": 70}})
    app = Reliq("shop", broker="memory://")
    app.config_from_object(module, namespace=namespace)
    assert timeout_of(app) == 70


def test_once_in_a_module_is_no_error_that_is_swallowed_where_nothing_reads_it():
    module = types.ModuleType("settings")
    module.ONCE = ONCE
    app = Reliq("shop", broker="memory://")
    app.config_from_object(module)
    with pytest.raises(UnknownSetting, match="ONCE"):
        app.task(name="plain")(lambda: None).delay()
    app.close()


@pytest.mark.parametrize(
    ("once", "said"),
    [
        ({"settings": {"default_timeout": 0}}, "default_timeout is seconds above 0"),
        ({"settings": {"blocking": True}}, "here nobody waits while publishing"),
    ],
)
def test_what_cannot_be_is_refused_at_the_first_publish(once, said):
    app = Reliq("shop", broker="memory://")
    app.conf.ONCE = once
    task = app.task(name="work", base=QueueOnce)(lambda: None)
    with Harness(app), pytest.raises(ConfigError, match=said):
        task.delay()


@pytest.mark.parametrize(
    "once", [{"backends": "x"}, {"settings": {"timeout": 5}}, {"settings": {"default_timeout": "x"}}]
)
def test_what_celery_once_does_not_have_is_refused(once):
    app = Reliq("shop", broker="memory://")
    app.conf.ONCE = once
    with pytest.raises(ConfigError, match="once = "):
        app.task(name="work", base=QueueOnce)(lambda: None)


def test_where_celery_once_kept_its_locks_is_said_to_have_no_effect(celery):
    task = celery.task(name="work", base=QueueOnce)(lambda: None)
    (middleware,) = task.chain.middleware
    complaints = [c for c in middleware.checks() if "ONCE" in c]
    assert (
        "ONCE: backend, settings.url has no effect: the locks are in the app's broker, beside the messages; remove it"
        in complaints
    )


# --- its options, one by one ---


@pytest.mark.parametrize(
    "once",
    [
        {"graceful": True},
        {"graceful": False, "unlock_before_run": False},
        {"keys": ["a"]},
        {"keys": ("a",)},
        {"timeout": 10},
        {"timeout": 60 * 60},
        {"unlock_before_run": True},
        {"graceful": True, "keys": ["a"], "timeout": 3600, "unlock_before_run": False},
    ],
)
def test_every_option_of_celery_once_is_taken_by_task_and_by_call(once):
    app = Reliq("shop", broker="memory://")
    by_task = app.task(name="one", base=QueueOnce, once=once)(lambda a, b=0: None)
    by_call = app.task(name="two", base=QueueOnce)(lambda a, b=0: None)
    with Harness(app):
        outcomes = []
        for task, options in ((by_task, {}), (by_call, {"once": once})):
            task.apply_async((1,), **options)
            try:
                outcomes.append(task.apply_async((1,), **options).state)
            except AlreadyQueued as error:
                outcomes.append(error.countdown)
        assert (
            outcomes[0] == outcomes[1] == ("REJECTED" if once.get("graceful") else once.get("timeout", 3600))
        )


def test_unlock_before_run_and_until_are_refused_together():
    app = Reliq("shop", broker="memory://")
    with pytest.raises(OptionError, match="say the same thing"):
        app.task(name="x", base=QueueOnce, once={"unlock_before_run": True, "until": "start"})(lambda: None)
