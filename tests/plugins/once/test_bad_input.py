"""What cannot be used is refused with a clear error, and nothing is left behind."""

from __future__ import annotations

import logging
from datetime import timedelta

import msgspec
import pytest

from reliq.errors import (
    BrokerUnavailable,
    GuardRefused,
    OptionError,
    PublishRefused,
    PublishUnknown,
    UnkeyableArgument,
)
from reliq.ports import records
from reliq.testing.faults import Faulty, at
from reliq_once import AlreadyQueued, NewerRecord, Once, QueueOnceMiddleware
from reliq_once.ticket import HEADER

BAD = [
    ({"until": "never"}, "once until is one of start, done, expiry, got 'never'"),
    ({"until": "starts"}, "did you mean 'start'?"),
    ({"on_conflict": "ignore"}, "once on_conflict is one of raise, drop, join, replace, debounce, rerun"),
    ({"on_conflict": "debounce"}, "on_conflict='debounce' needs debounce=(delay, max_wait)"),
    ({"debounce": 5}, "once debounce is (delay, max_wait) in seconds, got 5"),
    ({"debounce": (5, 1)}, "max_wait, the second, is not below the delay"),
    ({"debounce": (0, 1)}, "once debounce is seconds above 0"),
    ({"debounce": (1, 5), "on_conflict": "join"}, "on_conflict='join' cannot stand beside it"),
    ({"debounce": (1, 5), "until": "done"}, "its lock is free from the start: drop until='done'"),
    ({"on_conflict": "rerun", "until": "expiry"}, "drop until='expiry'"),
    ({"on_conflict": "rerun", "while_running": 2}, "rerun runs one at a time: drop while_running"),
    ({"while_running": 0}, "once while_running is a whole number from 1 to 100, got 0"),
    ({"while_running": True}, "once while_running is a whole number from 1 to 100, got True"),
    ({"on_busy": "drop"}, "give while_running=N"),
    ({"while_running": 1, "on_busy": "wait"}, "once on_busy is one of snooze, drop, fail"),
    ({"graceful": True, "on_conflict": "join"}, "graceful and on_conflict say the same thing"),
    ({"unlock_before_run": True, "until": "done"}, "unlock_before_run and until say the same thing"),
    ({"keys": ["a"], "key": str}, "give keys or key, not both"),
    ({"key": "a"}, "once key is a plain function of the call's arguments, got 'a'"),
    ({"relock_on_retry": True}, "relock_on_retry belongs to until='start'"),
    ({"hold_on_failure": True, "until": "expiry"}, "hold_on_failure has no meaning with until='expiry'"),
    ({"namespace": ""}, "once namespace is a text of 1 to 200 characters"),
    ({"namespace": "\udc80"}, "once namespace is a text of 1 to 200 characters, got '\\udc80'"),
    ({"on_store_error": "ignore"}, "once on_store_error is one of raise, run"),
    ({"timeout": -1}, "once timeout is seconds above 0"),
    ({"timeout": float("nan")}, "once timeout is seconds above 0"),
    ({"timeout": "60"}, "once timeout is seconds above 0"),
    ({"timeout": timedelta(0)}, "once timeout is seconds above 0"),
    ({"keys": ["c"]}, "keys names 'c', which is not a parameter; it has a, b"),
]


@pytest.mark.parametrize(("once", "said"), BAD, ids=[str(once) for once, _ in BAD])
def test_options_are_refused_where_the_task_is_defined_as_dict_and_as_object(bench, once, said):
    for number, given in enumerate((once, Once(**once))):
        with pytest.raises(OptionError) as caught:
            bench.task(lambda a, b: None, name=f"work-{number}", once=given)
        assert said in str(caught.value) and "Task 'work-" in str(caught.value)


def test_an_async_key_function_is_refused(bench):
    async def key(a):
        return a

    with pytest.raises(OptionError, match="a plain function"):
        bench.task(lambda a: None, once={"key": key})


def test_options_of_a_call_are_checked_together_with_those_of_the_task(bench):
    work = bench.task(lambda a: None, once={"while_running": 2})
    work.apply_async((1,), once={"on_busy": "drop"})
    with pytest.raises(OptionError, match="relock_on_retry belongs"):
        work.apply_async((2,), once={"until": "done", "relock_on_retry": True})
    with pytest.raises(OptionError, match="once=False is no option"):
        work.apply_async((2,), once=False)
    with pytest.raises(OptionError, match="keys names 'z'"):
        work.apply_async((2,), once={"keys": ["z"]})
    assert len(bench.locks()) == 1


def test_what_a_call_says_stands_over_the_other_name_of_the_same_thing(bench):
    work = bench.task(lambda a: None, once={"graceful": True, "keys": ["a"], "unlock_before_run": True})
    first = work.delay(1)
    assert work.apply_async((1,), once={"on_conflict": "join"}) == first
    with pytest.raises(AlreadyQueued):
        work.apply_async((1,), once={"graceful": False})
    work.apply_async((2,), once={"until": "done", "key": lambda a: str(a)})


# --- keys ---


def raising(a):
    raise LookupError("no such customer")


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (
            raising,
            "The key function raising of work raised LookupError: no such customer; nothing was published",
        ),
        (lambda: "x", "raised TypeError"),
        (lambda a: 7, "gave a int; give a str, a tuple, or None for no lock"),
        (lambda a: "x" * 1025, "gave 1,025 bytes, the limit is 1,024"),
        (lambda a: ("x" * 600, "y" * 600), "the limit is 1,024: give what identifies the call"),
        (lambda a: (object(),), "cannot be part of a key"),
        (lambda a: "\ud800", "cannot be part of a key"),
    ],
)
def test_a_key_function_that_gives_no_key_refuses_the_call(bench, key, said):
    work = bench.task(lambda a: None, once={"key": key})
    with pytest.raises(UnkeyableArgument) as caught:
        work.delay(1)
    assert said in str(caught.value)
    assert bench.locks() == [] and bench.engine.audit().accepted == 0


def test_a_key_function_gives_the_key_and_none_is_no_lock(bench):
    work = bench.task(lambda a, b=0: None, once={"key": lambda a, b=0: None if a == 0 else ("k", a % 2)})
    work.delay(1)
    with pytest.raises(AlreadyQueued):
        work.delay(3, b=9)
    work.delay(2)
    for _ in range(3):
        assert work.delay(0).state == "PENDING"
    assert len(bench.locks()) == 2


def test_a_key_function_s_key_is_never_that_of_arguments(bench):
    one = bench.task(lambda key: None, name="one", once={"namespace": "n"})
    two = bench.task(lambda key: None, name="two", once={"namespace": "n", "key": lambda key: key})
    one.delay("x")
    two.delay("x")


def test_an_unencodable_argument_refuses_the_call_before_anything_is_written(bench):
    work = bench.task(lambda a: None)
    with pytest.raises(UnkeyableArgument, match="argument 'a' of type `object`"):
        work.delay(object())
    keyed = bench.task(lambda a, b: None, name="keyed", once={"keys": ["a"]})
    with pytest.raises(TypeError):
        keyed.delay(1, object())
    assert bench.locks() == [] and bench.engine.audit().accepted == 0


# --- tasks that are defined elsewhere ---


def test_a_task_that_is_not_registered_takes_no_lock_and_says_so_once(make_bench, caplog):
    bench = make_bench([QueueOnceMiddleware()])
    for _ in range(3):
        bench.app.send_task("far.away", (1,))
    assert caplog.text.count("task far.away is not registered here, so it is sent without a lock") == 1
    assert bench.locks() == []


def test_a_task_that_is_not_registered_is_locked_when_the_call_says_so(make_bench):
    bench = make_bench([QueueOnceMiddleware()])
    first = bench.app.send_task("far.away", kwargs={"a": 1, "b": 2}, once={"keys": ["a"]})
    with pytest.raises(AlreadyQueued):
        bench.app.send_task("far.away", kwargs={"a": 1, "b": 3}, once={"keys": ["a"]})
    with pytest.raises(
        UnkeyableArgument, match=r"not registered here, so keys=\['a'\] can only name keyword"
    ):
        bench.app.send_task("far.away", (1, 3), once={"keys": ["a"]})
    assert bench.locks() == [first.id]


def test_the_key_of_a_call_by_name_is_that_of_the_task_where_it_is_defined(make_bench, engine, clock):
    there = make_bench([QueueOnceMiddleware()])
    there.app.send_task("work", kwargs={"a": 1}, once={"keys": ["a"]})
    here = make_bench()
    with pytest.raises(AlreadyQueued):
        here.task(lambda a: None, once={"keys": ["a"]}).delay(1)


def test_without_the_middleware_in_the_list_a_call_by_name_has_no_such_option(bench):
    with pytest.raises(
        OptionError, match="has no option 'once': it belongs to the middleware 'once'"
    ) as caught:
        bench.app.send_task("far.away", once={})
    assert "Reliq(..., middleware=['once'])" in str(caught.value)


# --- the store fails ---


def test_a_broker_that_is_down_at_the_publish_is_a_certain_or_an_unknown_publish(bench, engine, clock):
    work = bench.task(once={"debounce": (1, 5)})
    for number, error in ((1, PublishRefused), (2, PublishUnknown)):
        undo = bench.app.use_engine(Faulty(engine, at(number, "before")), clock)
        with pytest.raises(error):
            work.delay()
        undo()
    assert bench.locks() == [] and engine.audit().accepted == 0


@pytest.mark.parametrize("fault", ["before", "after"])
@pytest.mark.parametrize("once", [{"until": "start"}, {"while_running": 1}, {"on_conflict": "rerun"}])
def test_a_store_that_fails_at_the_start_puts_the_message_off_and_loses_nothing(
    bench, engine, clock, once, fault
):
    ran = []
    work = bench.task(lambda: ran.append(1), once=once)
    first = work.delay()
    delivery = bench.claim()
    undo = bench.app.use_engine(Faulty(engine, at(1, fault, operations=frozenset({"apply"}))), clock)
    bench.harness.settle(delivery)
    undo()
    record = first.record()
    assert (record.state, record.attempt, record.snoozes) == ("due", 0, 1)
    assert record.reason.startswith("its once-lock cannot be looked at") and ran == []
    bench.run(advance=True)
    assert first.successful() and ran == [1] and (bench.locks(), bench.slots()) == ([], [])


def test_on_store_error_run_runs_all_the_same(bench, engine, clock, caplog):
    work = bench.task(lambda: 7, once={"until": "start", "on_store_error": "run"})
    first = work.delay()
    delivery = bench.claim()
    undo = bench.app.use_engine(Faulty(engine, at(1, "before", operations=frozenset({"apply"}))), clock)
    bench.harness.settle(delivery)
    undo()
    assert first.get(timeout=0) == 7 and bench.locks() == []
    assert "runs though its lock could not be looked at" in caplog.text


@pytest.mark.parametrize(
    ("once", "said"),
    [
        ({}, "once: QueueOnce needs a broker"),
        ({"on_conflict": "join"}, "once: QueueOnce needs a broker"),
        ({"on_conflict": "replace"}, "once: on_conflict='replace' needs a broker"),
        ({"debounce": (1, 5)}, "once: on_conflict='debounce' needs a broker"),
        ({"while_running": 2}, "once: while_running needs a broker"),
        ({"on_conflict": "rerun"}, "once: on_conflict='rerun' needs a broker"),
        ({"on_conflict": "replace", "while_running": 2}, "on_conflict='replace' and while_running needs"),
    ],
)
def test_a_broker_that_is_no_engine_is_refused(bench, engine, clock, once, said):
    class Plain:
        def __init__(self):
            self.capabilities = msgspec.structs.replace(engine.capabilities, engine=False, name="plain")

        def __getattr__(self, name):
            return getattr(engine, name)

    work = bench.task(once=once)
    undo = bench.app.use_engine(Plain(), clock)
    with pytest.raises(OptionError) as caught:
        work.delay()
    undo()
    assert said in str(caught.value) and "plain is none, so nothing was published" in str(caught.value)
    assert engine.audit().accepted == 0


# --- other versions, and damage ---


def newer(bench, monkeypatch):
    """A message of a publisher with a newer reliq_once."""
    monkeypatch.setattr("reliq_once.placing.VERSION", 2)
    monkeypatch.setattr("reliq_once.terms.VERSION", 2)
    handle = bench.task(lambda: "ran").delay()
    monkeypatch.undo()
    return handle


def test_a_ticket_of_a_newer_version_waits_for_an_upgrade(bench, monkeypatch):
    first = newer(bench, monkeypatch)
    record = bench.harness.run_one()
    assert (record.state, record.attempt) == ("due", 0)
    assert record.reason.startswith(
        "its once-lock has version 2, this worker reads 1: upgrade the workers first"
    )
    first.cancel()
    assert bench.locks() == []


def test_a_lock_of_a_newer_version_is_a_conflict_like_any_other(bench, monkeypatch):
    first = newer(bench, monkeypatch)
    with pytest.raises(AlreadyQueued) as caught:
        bench.app.tasks["work"].delay()
    assert caught.value.existing_id == first.id


@pytest.mark.parametrize(
    ("data", "said"),
    [(b'[2,"x"]', "has version 2, this reliq_once reads 1: upgrade"), (b"junk", "is no lock")],
)
def test_a_debounced_call_that_cannot_read_the_lock_is_refused(bench, data, said):
    work = bench.task(once={"debounce": (1, 5)})
    work.delay()
    ((key, value),) = sorted(records(bench.engine, "once:"))
    bench.engine.store_put(key, data, holder=value.holder)
    with pytest.raises(NewerRecord, match=said):
        work.delay()
    assert bench.engine.audit().accepted == 1


@pytest.mark.parametrize("header", ["", "junk", "[]", '[1,"x"]', '["1"]', "[1,5,5,5]", "{}"])
def test_a_damaged_ticket_lets_the_task_run_and_its_end_frees_the_lock(bench, header, caplog):
    ran = []
    work = bench.task(lambda: ran.append(1), once={"until": "start"})
    first = work.delay()
    delivery = bench.claim()
    from reliq.wire import codec

    envelope = codec.decode(delivery.payload)
    damaged = msgspec.structs.replace(envelope, headers={HEADER: header})
    with caplog.at_level(logging.ERROR):
        bench.harness.settle(msgspec.structs.replace(delivery, payload=codec.encode(damaged)))
    assert ran == [1] and first.successful() and bench.locks() == []
    assert "is damaged" in caplog.text


def test_the_headers_of_one_message_passed_on_to_another_carry_no_lock(bench):
    work = bench.task(lambda: None, once={"until": "start"})
    work.delay()
    headers = dict(bench.harness.runner.open(bench.claim()).ctx.headers)
    assert HEADER in headers
    plain = bench.task(name="plain", once={"key": lambda: None})
    other = plain.apply_async(headers=headers)
    assert HEADER not in bench.harness.runner.open(bench.claim()).ctx.headers and other.id


def test_a_guard_of_another_middleware_is_not_taken_for_a_conflict(make_bench):
    from reliq import Middleware
    from reliq.ports import Absent

    class Other(Middleware):
        def publish(self, ctx):
            ctx.with_publish(Absent("closed"))
            yield

    bench = make_bench([Other(), QueueOnceMiddleware()])
    bench.engine.store_put("closed", b"")
    with pytest.raises(GuardRefused):
        bench.task().delay()
    assert bench.locks() == []


def test_an_outage_while_the_key_is_read_is_not_swallowed(bench, engine, clock):
    work = bench.task()
    undo = bench.app.use_engine(Faulty(engine, at(1, "before")), clock)
    with pytest.raises(PublishUnknown) as caught:
        work.delay()
    undo()
    assert isinstance(caught.value.__cause__, BrokerUnavailable) and bench.locks() == []
