"""Every row of the signals' table."""

from __future__ import annotations

import gc

import pytest

from reliq import Drop, Middleware, Reliq, Snooze, signals
from reliq.compat.signals import SIGNALS
from reliq.errors import CeleryNameError, OptionError, TaskCancelled
from reliq.observers import for_workers
from reliq.testing import Harness

WORKING = [name for name, entry in SIGNALS.items() if entry.status == "works"]
TESTED = {
    "before_task_publish",
    "after_task_publish",
    "task_prerun",
    "task_postrun",
    "task_success",
    "task_failure",
    "task_retry",
    "task_revoked",
    "worker_process_init",
    "worker_process_shutdown",
    "worker_ready",
    "worker_shutdown",
}


class Listener:
    """Writes down what the signals say, in order."""

    def __init__(self, *names):
        self.heard = []
        for name in names or WORKING:
            getattr(signals, name).connect(self, weak=False)

    def __call__(self, signal, sender, **fields):
        self.heard.append((signal.name, sender, fields))

    @property
    def names(self):
        return [name for name, *_ in self.heard]

    def fields(self, name):
        return next(fields for heard, _, fields in self.heard if heard == name)

    def sender(self, name):
        return next(sender for heard, sender, _ in self.heard if heard == name)


def test_every_signal_that_works_has_its_test():
    assert set(WORKING) == TESTED


def test_a_run_that_ends_well_sends_its_signals(app, harness):
    listener = Listener()
    task = app.task(name="add")(lambda a, b: a + b)
    handle = task.delay(1, b=2)
    harness.run_until_idle()
    assert listener.names == [
        "before_task_publish",
        "after_task_publish",
        "task_prerun",
        "task_success",
        "task_postrun",
    ]
    run = {"task_id": handle.id, "task": task, "args": (1,), "kwargs": {"b": 2}}
    assert listener.fields("task_prerun") == run
    assert listener.fields("task_success") == {"result": 3}
    assert listener.fields("task_postrun") == {**run, "retval": 3, "state": "SUCCESS"}
    assert listener.sender("task_prerun") is task
    published = listener.fields("after_task_publish")
    assert listener.sender("after_task_publish") == "add"
    assert published["headers"] == {"id": handle.id, "task": "add"}
    assert (published["body"], published["routing_key"]) == (((1,), {"b": 2}, {}), "default")


def test_a_run_that_fails_sends_a_retry_and_then_the_failure(app, harness):
    listener = Listener("task_retry", "task_failure", "task_postrun")

    def boom():
        raise OSError("x")

    handle = app.task(name="boom", autoretry_for=(OSError,), max_retries=1)(boom).delay()
    harness.run_until_idle(advance=True)
    assert listener.names == ["task_retry", "task_postrun", "task_failure", "task_postrun"]
    retry, failure = listener.fields("task_retry"), listener.fields("task_failure")
    assert repr(retry["reason"]) == "OSError('x')" and retry["request"].id == handle.id
    assert repr(failure["exception"]) == "OSError('x')" and failure["task_id"] == handle.id
    assert failure["traceback"] is not None and "OSError: x" in str(failure["einfo"])
    states = [fields["state"] for name, _, fields in listener.heard if name == "task_postrun"]
    assert states == ["RETRY", "FAILURE"]


@pytest.mark.parametrize(("verdict", "state"), [(Drop("no"), "IGNORED"), (Snooze(5), "RETRY")])
def test_other_endings_are_told_by_their_state(app, harness, verdict, state):
    listener = Listener("task_postrun", "task_success", "task_failure")
    app.task(name="t")(lambda: verdict).delay()
    harness.run_one()
    assert listener.names == ["task_postrun"] and listener.fields("task_postrun")["state"] == state


def test_a_running_task_that_is_stopped_is_revoked(app, harness):
    listener = Listener("task_revoked")

    def stopped():
        raise TaskCancelled

    handle = app.task(name="t")(stopped).delay()
    harness.run_until_idle()
    fields = listener.fields("task_revoked")
    assert fields["request"].id == handle.id
    assert (fields["terminated"], fields["signum"], fields["expired"]) == (True, None, False)


def test_a_text_put_into_the_headers_before_a_publish_travels(app, harness):
    @signals.before_task_publish.connect
    def stamp(sender, headers, **_):
        headers["tenant"] = "acme"

    seen = app.task(name="t", bind=True)(lambda self: self.request.headers["tenant"])
    handle = seen.delay()
    harness.run_until_idle()
    assert handle.get(0) == "acme"


def test_what_is_no_text_is_logged_and_does_not_travel(app, harness, caplog):
    @signals.before_task_publish.connect
    def stamp(sender, headers, **_):
        headers["number"] = 1

    handle = app.task(name="t", bind=True)(lambda self: dict(self.request.headers)).delay()
    harness.run_until_idle()
    assert handle.get(0) == {} and "other than texts" in caplog.text


def test_a_publish_that_was_refused_is_not_told_as_published(app):
    class Refuse(Middleware):
        def publish(self, ctx):
            return Drop("no")

    listener = Listener("before_task_publish", "after_task_publish")
    app = Reliq("shop", broker="memory://", middleware=[Refuse()])
    assert app.task(name="t")(lambda: 1).delay().state == "REJECTED"
    assert listener.names == []


def test_a_worker_s_signals_are_sent_by_its_hooks(app):
    listener = Listener()
    assert len(app.all_middleware) == 1
    observer = app.all_middleware[0]
    observer.startup(None)
    (service,) = observer.services()
    assert service.tick() == service.tick() == 30.0
    service.stop()
    observer.shutdown(None)
    assert listener.names == [
        "worker_process_init",
        "worker_ready",
        "worker_shutdown",
        "worker_process_shutdown",
    ]
    assert listener.sender("worker_ready") is app
    assert listener.fields("worker_process_shutdown")["exitcode"] == 0


def test_a_signal_nobody_is_connected_to_has_no_place_in_the_chain(app):
    task = app.task(name="t")(lambda: 1)
    assert task.chain.middleware == () and for_workers(app) == () and app.all_middleware == ()
    receiver = signals.task_prerun.connect(lambda **_: None, weak=False)
    assert task.chain.names == ("run-signals",) and not task.chain.publish
    assert signals.task_prerun.disconnect(receiver) and task.chain.middleware == ()
    assert signals.task_prerun.disconnect(receiver) is False


def test_a_receiver_hears_only_of_its_sender(app, harness):
    first, second = (app.task(name=name)(lambda: 1) for name in ("first", "second"))
    heard = []
    for sender in (first, "second"):
        signals.task_prerun.connect(
            lambda sender, task, **_: heard.append(task.name), sender=sender, weak=False
        )
    signals.before_task_publish.connect(lambda sender, **_: heard.append(sender), sender="first", weak=False)
    first.delay()
    second.delay()
    harness.run_until_idle()
    assert heard == ["first", "first", "second"]


def test_a_receiver_is_forgotten_with_whoever_holds_it_unless_asked_otherwise():
    class Holder:
        def method(self, **_):
            pass

    def receiver(**_):
        pass

    holder = Holder()
    signals.task_prerun.connect(holder.method)
    signals.task_prerun.connect(receiver)
    signals.task_prerun.connect(lambda **_: None, weak=False)
    assert len(signals.task_prerun.send(None)) == 3
    del holder, receiver
    gc.collect()
    assert len(signals.task_prerun.send(None)) == 1


def test_a_receiver_connected_twice_is_called_once():
    heard = []

    def receiver(**_):
        heard.append(1)

    signals.task_prerun.connect(receiver)
    signals.task_prerun.connect(receiver)
    signals.task_prerun.connect(lambda **_: heard.append(2), weak=False, dispatch_uid="x")
    signals.task_prerun.connect(lambda **_: heard.append(2), weak=False, dispatch_uid="x")
    signals.task_prerun.send(None)
    assert heard == [1, 2]
    assert signals.task_prerun.disconnect(dispatch_uid="x") and len(signals.task_prerun.send(None)) == 1


def test_an_error_in_a_receiver_is_logged_and_changes_nothing(app, harness, caplog):
    @signals.task_prerun.connect
    @signals.task_success.connect
    @signals.before_task_publish.connect
    def broken(**_):
        raise OSError("broken receiver")

    handle = app.task(name="t")(lambda: 1).delay()
    harness.run_until_idle()
    assert handle.get(0) == 1 and caplog.text.count("OSError: broken receiver") == 3


def test_the_decorator_takes_options(app, harness):
    heard = []

    @signals.task_success.connect(sender="t")
    def receiver(result, **_):
        heard.append(result)

    app.task(name="t")(lambda: 5).delay()
    harness.run_until_idle()
    assert heard == [5] and repr(signals.task_success) == "<signal task_success>"


def test_signals_of_an_async_task(app, harness):
    listener = Listener("task_prerun", "task_success")

    async def one():
        return 1

    app.task(name="t")(one).delay()
    harness.run_until_idle()
    assert listener.names == ["task_prerun", "task_success"]


def test_a_chain_that_was_built_before_is_built_again_for_every_app():
    apps = [Reliq(name, broker="memory://") for name in ("a", "b")]
    tasks = [app.task(name="t")(lambda: 1) for app in apps]
    assert all(task.chain.names == () for task in tasks)
    listener = Listener("task_success")
    for app, task in zip(apps, tasks, strict=True):
        with Harness(app) as harness:
            task.delay()
            harness.run_until_idle()
    assert listener.names == ["task_success"] * 2


@pytest.mark.parametrize("name", [n for n, entry in SIGNALS.items() if entry.status != "works"])
def test_a_signal_that_is_not_sent_says_what_to_use_when_it_is_connected(name):
    with pytest.raises(CeleryNameError) as caught:
        getattr(signals, name).connect(lambda **_: None)
    assert name in str(caught.value) and SIGNALS[name].text in str(caught.value)


def test_a_link_to_a_task_may_be_made_while_somebody_listens_to_publishes(app, harness):
    Listener("before_task_publish")
    other = app.task(name="other")(lambda value: value)
    try:
        app.task(name="t")(lambda: 1).apply_async(link=other.s())
    except OptionError as error:
        pytest.fail(str(error))
    assert harness.run_until_idle() == 2
