"""Every row of the tasks' table, what a base may say, and the run here and now."""

from __future__ import annotations

import asyncio

import pytest

from reliq import Drop, Reliq, Retry, Snooze, Task, task
from reliq.compat.tasks import HANDLERS, OVERRIDES, TASK_NAMES
from reliq.errors import ArgumentError, ArityError, CeleryNameError, OptionError, TaskDropped
from reliq.testing import Harness

OPTIONS = {
    "max_retries": 7, "autoretry_for": (OSError,), "throws": (KeyError,), "time_limit": 9, "soft_time_limit": 4,
    "ignore_result": True, "expires": 60, "queue": "q", "priority": 3,
}  # fmt: skip

# name -> what it gives for the task below, which adds
WORKS = {
    "name": lambda t: t.name == "add",
    "app": lambda t: t.app.name == "shop",
    "delay": lambda t: t.delay(1, 2).state == "PENDING",
    "apply_async": lambda t: t.apply_async((1,), {"b": 2}, countdown=5).record().state == "due",
    "apply": lambda t: t.apply((1,), {"b": 2}).get() == 3,
    "s": lambda t: t.s(1).args == (1,),
    "si": lambda t: t.si(1, 2).immutable,
    "signature": lambda t: t.signature((1,), {"b": 2}, countdown=5).delay().record().state == "due",
    "subtask": lambda t: t.subtask((1, 2), immutable=True).immutable,
    "retry": lambda t: isinstance(in_run(t, lambda: t.retry(countdown=3, throw=False)), Retry),
    "request": lambda t: in_run(t, lambda: t.request.id) is not None,
    "run": lambda t: t.run(1, 2) == 3,
    "AsyncResult": lambda t: t.AsyncResult(t.delay(1, 2).id).state == "PENDING",
    "max_retries": lambda t: t.max_retries == 7,
    "autoretry_for": lambda t: t.autoretry_for == (OSError,),
    "throws": lambda t: t.throws == (KeyError,),
    "time_limit": lambda t: t.time_limit == 9,
    "soft_time_limit": lambda t: t.soft_time_limit == 4,
    "ignore_result": lambda t: t.ignore_result is True,
    "expires": lambda t: t.expires == 60,
    "queue": lambda t: t.queue == "q",
    "priority": lambda t: t.priority == 3,
}


def in_run(add, look):
    """What `look` gives while a task runs."""
    found = []
    probe = add.app.task(name="probe")(lambda: found.append(look()))
    probe.apply()
    return found[0]


@pytest.fixture
def add(app, harness):
    def add(a: int, b: int) -> int:
        return a + b

    return app.task(name="add", **OPTIONS)(add)


@pytest.mark.parametrize("name", WORKS)
def test_a_name_that_works(add, name):
    assert WORKS[name](add)


def test_every_name_that_works_has_its_test():
    works = {name for name, entry in TASK_NAMES.items() if entry.status == "works"}
    assert works == WORKS.keys() | set(HANDLERS)


@pytest.mark.parametrize("name", [n for n, entry in TASK_NAMES.items() if entry.status != "works"])
def test_a_name_that_is_not_there_says_what_to_use(add, name):
    with pytest.raises(CeleryNameError) as caught:
        getattr(add, name)
    assert f"task.{name}" in str(caught.value) and TASK_NAMES[name].text in str(caught.value)
    with pytest.raises(CeleryNameError):
        setattr(add, name, 1)
    with pytest.raises(OptionError):
        type("Base", (Task,), {name: lambda self: None})


@pytest.mark.parametrize("option", ["acks_late", "rate_limit", "default_retry_delay", "retry_backoff"])
def test_an_option_cannot_be_set_on_a_task_as_if_it_were_heard(add, option):
    with pytest.raises(CeleryNameError, match=option):
        setattr(add, option, 1)
    with pytest.raises(AttributeError):
        add.max_retries = 5


def test_a_shared_task_has_them_too(app, harness):
    double = task(name="double")(lambda n: 2 * n)
    assert double.apply((3,)).get() == 6
    assert double.signature((3,)).delay().state == "PENDING"


# --- bases ---


class Told(Task):
    """Writes down which handler was called with what."""

    def __init__(self, *args):
        super().__init__(*args)
        self.told = []

    def before_start(self, task_id, args, kwargs):
        self.told.append(("before_start", self.request.id == task_id, args, kwargs))

    def on_success(self, retval, task_id, args, kwargs):
        self.told.append(("on_success", retval, args, kwargs))

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        self.told.append(("on_failure", repr(exc), args, kwargs))
        assert einfo.exception is exc and einfo.type is type(exc) and repr(exc) not in ("", None)
        assert "Traceback" in str(einfo) or exc.__traceback__ is None

    def on_retry(self, exc, task_id, args, kwargs, einfo):
        self.told.append(("on_retry", repr(exc), args, kwargs))

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        self.told.append(("after_return", status, repr(retval), einfo is not None))


def told(app, harness, body, *args, **options):
    task = app.task(name="t", base=Told, **options)(body)
    task.delay(*args)
    harness.run_until_idle(advance=True)
    return task.told[1:]  # the first is before_start


def test_the_handlers_of_a_base_hear_of_a_success(app, harness):
    task = app.task(name="t", base=Told)(lambda n: n + 1)
    task.delay(1)
    harness.run_until_idle()
    assert task.told == [
        ("before_start", True, (1,), {}),
        ("on_success", 2, (1,), {}),
        ("after_return", "SUCCESS", "2", False),
    ]


def test_the_handlers_of_a_base_hear_of_each_retry_and_of_the_failure(app, harness):
    def boom(n):
        raise OSError(n)

    assert told(app, harness, boom, 1, autoretry_for=(OSError,), max_retries=1) == [
        ("on_retry", "OSError(1)", (1,), {}),
        ("before_start", True, (1,), {}),
        ("on_failure", "OSError(1)", (1,), {}),
        ("after_return", "FAILURE", "OSError(1)", True),
    ]


def test_on_retry_hears_the_error_given_to_retry(app, harness):
    def again(self):
        if not self.request.retries:
            raise self.retry(exc=OSError("x"))

    heard = told(app, harness, again, bind=True)
    assert heard[0] == ("on_retry", "OSError('x')", (), {})
    assert heard[-1][:2] == ("after_return", "SUCCESS")


def test_an_async_task_has_its_handlers_too(app, harness):
    async def one():
        await asyncio.sleep(0)
        return 1

    assert [name for name, *_ in told(app, harness, one)] == ["on_success", "after_return"]


def test_a_dropped_message_has_no_handler(app, harness):
    def drop():
        raise Drop("no")

    assert told(app, harness, drop) == []


def test_an_error_in_before_start_is_the_run_s(app, harness):
    class Broken(Task):
        def before_start(self, *args):
            raise OSError("not ready")

    handle = app.task(name="t", base=Broken)(lambda: 1).delay()
    harness.run_until_idle()
    assert handle.failed() and "not ready" in str(handle.result)


def test_an_error_in_another_handler_is_logged_and_changes_nothing(app, harness, caplog):
    class Broken(Task):
        def on_success(self, *args):
            raise OSError("broken handler")

    handle = app.task(name="t", base=Broken)(lambda: 1).delay()
    harness.run_until_idle()
    assert handle.get(0) == 1 and "broken handler" in caplog.text


def test_a_base_may_call_the_handler_of_its_own_base(app, harness):
    class More(Told):
        def on_success(self, retval, *args):
            super().on_success(retval, *args)
            Task.on_success(self, retval, *args)

    task = app.task(name="t", base=More)(lambda: 1)
    task.delay()
    harness.run_until_idle()
    assert [name for name, *_ in task.told] == ["before_start", "on_success", "after_return"]
    assert task.chain.names == ("handlers",)


def test_a_task_whose_base_has_no_handlers_pays_nothing(app):
    class Plain(Task):
        pass

    assert app.task(name="t", base=Plain)(lambda: 1).chain.middleware == ()


def test_a_base_may_say_options_which_the_task_overrides(app, harness):
    class Base(Task):
        abstract = True
        autoretry_for = (OSError,)
        max_retries = 5
        queue = "base"

    class Further(Base):
        max_retries = 6

    assert app.task(name="a", base=Base)(lambda: 1).max_retries == 5
    further = app.task(name="b", base=Further, queue="own")(lambda: 1)
    assert (further.max_retries, further.retry_on, further.queue) == (6, (OSError,), "own")
    with pytest.raises(OptionError, match="rate_limit"):
        app.task(name="c", base=type("Limited", (Task,), {"rate_limit": "1/s"}))(lambda: 1)


def test_a_base_may_say_the_options_of_its_middleware(app):
    from reliq import Middleware

    class Tenant(Middleware):
        options = frozenset({"tenant"})

    class Base(Task):
        middleware = (Tenant(),)
        tenant = "acme"

    assert app.task(name="a", base=Base)(lambda: 1).middleware_options == {"tenant": "acme"}
    assert app.task(name="b", base=Base, tenant="b")(lambda: 1).middleware_options == {"tenant": "b"}


def test_a_base_may_override_call(app, harness):
    class Twice(Task):
        def __call__(self, *args, **kwargs):
            return 2 * super().__call__(*args, **kwargs)

    handle = app.task(name="t", base=Twice)(lambda: 3).delay()
    harness.run_until_idle()
    assert handle.get(0) == 6


@pytest.mark.parametrize("name", OVERRIDES)
def test_a_base_that_overrides_what_is_not_always_asked_is_refused_where_it_is_defined(name):
    with pytest.raises(OptionError) as caught:
        type("Base", (Task,), {name: lambda self: None})
    assert f"Base overrides {name}" in str(caught.value) and OVERRIDES[name] in str(caught.value)


def test_a_base_has_no_name_and_no_async_handlers():
    with pytest.raises(OptionError, match="a base serves many tasks"):
        type("Base", (Task,), {"name": "x"})

    async def on_failure(self, *args):
        pass

    with pytest.raises(OptionError, match="handlers are plain functions"):
        type("Base", (Task,), {"on_failure": on_failure})


# --- here and now ---


def test_apply_retries_at_once_and_gives_the_task_s_own_error(app):
    runs = []

    def boom(self):
        runs.append((self.request.retries, self.request.is_eager, self.request.called_directly))
        raise OSError("x")

    boom = app.task(name="boom", bind=True, autoretry_for=(OSError,), max_retries=2)(boom)
    result = boom.apply(task_id="i")
    assert runs == [(0, True, False), (1, True, False), (2, True, False)]
    assert (result.id, result.state, result.ready(), result.failed()) == ("i", "FAILURE", True, True)
    assert repr(result.result) == "OSError('x')" and "Traceback" in result.traceback
    with pytest.raises(OSError, match="x"):
        result.get()
    with pytest.raises(OSError, match="x"):
        boom.apply(throw=True)


def test_apply_checks_the_arguments_and_carries_them_as_a_message_does(app):
    def show(a: tuple[int, int]) -> str:
        return repr(a)

    show = app.task(name="show")(show)
    assert show.apply(((1, 2),)).get() == "(1, 2)"
    with pytest.raises(ArgumentError, match="pass a `tuple`"):
        show.apply(([1, 2],))
    with pytest.raises(ArityError):
        show.apply((1, 2))
    with pytest.raises(OptionError, match=r"show.apply\(countdown=\)"):
        show.apply((1, 2), countdown=3)


def test_apply_runs_an_async_task_also_where_a_loop_runs(app):
    async def one():
        return 1

    one = app.task(name="one")(one)

    async def inside():
        return one.apply().get()

    assert one.apply().get() == asyncio.run(inside()) == 1


def test_apply_calls_the_handlers_and_tells_of_a_drop(app):
    told = app.task(name="t", base=Told)(lambda: 1)
    told.apply()
    assert [name for name, *_ in told.told] == ["before_start", "on_success", "after_return"]

    def give_up():
        return Drop("not today")

    result = app.task(name="d")(give_up).apply()
    assert result.state == "IGNORED" and not result.failed()
    with pytest.raises(TaskDropped, match="not today"):
        result.get()
    assert isinstance(app.task(name="s")(lambda: Snooze(3)).apply().result, Snooze)


def test_apply_opens_no_broker():
    app = Reliq("shop", broker="sqlite:////nowhere/at/all.db")
    assert app.task(name="t")(lambda: 1).apply().get() == 1


def test_a_link_made_with_signature_is_called(app):
    seen = []
    with Harness(app) as harness:
        first = app.task(name="first")(lambda: 4)
        then = app.task(name="then")(lambda *a: seen.append(a))
        first.apply_async(link=then.signature((5,)))
        harness.run_until_idle()
    assert seen == [(4, 5)]
