"""Links: messages that the ending of another publishes."""

from __future__ import annotations

import pytest

from reliq import Drop, Middleware, Reliq, current
from reliq.errors import OptionError
from reliq.ports import Add, Published
from reliq.testing import Harness


@pytest.fixture
def calls():
    return []


@pytest.fixture
def note(app, calls):
    @app.task(name="note")
    def note(*args) -> None:
        ctx = current()
        calls.append((args, ctx.parent, ctx.root))

    return note


@pytest.fixture
def work(app):
    @app.task(name="work")
    def work(how: str):
        if how == "fail":
            raise ValueError("no")
        if how == "drop":
            raise Drop("no")
        return {"how": how} if how else None

    return work


def test_a_link_is_given_the_result_before_its_own_arguments(app, harness, work, note, calls):
    work.apply_async(("x",), link=note.s(1, 2))
    assert harness.run_until_idle() == 2
    assert [args for args, *_ in calls] == [({"how": "x"}, 1, 2)]


def test_several_links_each_come_once(app, harness, work, note, calls):
    work.apply_async(("x",), link=[note.s(1), note.si(2)])
    harness.run_until_idle()
    assert sorted(args[-1] for args, *_ in calls) == [1, 2]


def test_an_immutable_link_is_given_nothing(app, harness, work, note, calls):
    work.apply_async(("x",), link=note.si("own"))
    harness.run_until_idle()
    assert [args for args, *_ in calls] == [("own",)]


def test_a_link_of_a_result_that_is_none_is_given_none(app, harness, work, note, calls):
    work.apply_async(("",), link=note.s(1))
    harness.run_until_idle()
    assert [args for args, *_ in calls] == [((None, 1))]


def test_a_link_wants_the_result_even_where_it_is_ignored(app, harness, work, note, calls):
    handle = work.apply_async(("x",), link=note.s(), ignore_result=True)
    harness.run_until_idle()
    assert [args for args, *_ in calls] == [({"how": "x"},)] and handle.get(0) is None


def test_an_error_link_is_given_the_id_of_what_failed(app, harness, work, note, calls):
    handle = work.apply_async(("fail",), link=note.s("done"), link_error=note.s("failed"))
    harness.run_until_idle()
    assert [args for args, *_ in calls] == [(handle.id, "failed")]


def test_a_dropped_message_links_to_nothing(app, harness, work, note, calls):
    work.apply_async(("drop",), link=note.s(), link_error=note.s())
    assert harness.run_until_idle() == 1 and calls == []


def test_a_link_carries_options_and_links_of_its_own(app, harness, work, note, calls):
    inner = note.si("second").set(queue="later", countdown=5)
    work.apply_async(("x",), link=note.si("first").set(link=inner, priority=7))
    assert harness.run_until_idle() == 2
    harness.clock.advance(5)
    assert harness.run_until_idle() == 1
    assert [args for args, *_ in calls] == [("first",), ("second",)]


def test_a_link_is_published_once_however_often_the_settlement_comes(app, harness, work, note, calls):
    work.apply_async(("x",), link=note.si())
    delivery = harness.claim().deliveries[0]
    settlement = harness.settle(delivery)
    answers = harness.engine.settle([settlement, settlement])
    assert [a.status for a in answers] == ["repeated", "repeated"]
    assert harness.run_until_idle() == 1 and len(calls) == 1


def test_a_link_to_a_shared_task_works(app, harness, work):
    from reliq import task

    @task(name="shared_note")
    def shared_note(value) -> str:
        return value["how"]

    work.apply_async(("x",), link=shared_note.s())
    assert harness.run_until_idle() == 2


def test_a_link_s_arguments_are_checked_when_it_is_made(app, harness, work):
    @app.task(name="one")
    def one(value) -> None: ...

    with pytest.raises(TypeError, match="one"):
        work.apply_async(("x",), link=one.s(1))
    assert harness.run_until_idle() == 0


def test_a_link_to_another_app_is_refused(app, harness, work):
    other = Reliq("other", broker="memory://").task(name="far")(lambda *a: None)
    with pytest.raises(OptionError, match="A link to 'far' of app 'other'"):
        work.apply_async(("x",), link=other.s())


def test_a_signature_can_be_called_now(app, harness, note, calls):
    note.s(1, 2).delay()
    harness.run_until_idle()
    assert [args for args, *_ in calls] == [(1, 2)]


class Tracing(Middleware):
    def publish(self, ctx):
        ctx.headers["trace"] = "t"
        yield


class Locking(Middleware):
    def publish(self, ctx):
        if ctx.task.name == "locked":
            ctx.with_publish(Add("key", holder=ctx.id))
        published = yield
        assert isinstance(published, Published)


def test_a_link_takes_along_what_publish_hooks_write_into_its_headers():
    app = Reliq("shop", broker="memory://", middleware=[Tracing()])
    seen = []
    work = app.task(name="work")(lambda: None)
    after = app.task(name="after")(lambda: seen.append(current().headers["trace"]))
    with Harness(app) as harness:
        work.apply_async(link=after.si())
        harness.run_until_idle()
    assert seen == ["t"]


def test_a_link_whose_publish_must_be_guarded_is_refused_rather_than_left_unguarded():
    app = Reliq("shop", broker="memory://", middleware=[Locking()])
    work = app.task(name="work")(lambda: None)
    locked = app.task(name="locked")(lambda: None)
    with Harness(app), pytest.raises(OptionError, match="its middleware 'locking' decides at the publish"):
        work.apply_async(link=locked.si())
