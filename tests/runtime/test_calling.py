"""The ways to call a task, and what each option does to the message."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from reliq import Handle, Reliq, current
from reliq.errors import (
    ArityError,
    GetInsideTask,
    InstantError,
    MessageTooLarge,
    NaiveDatetimeError,
    OptionError,
    PublishRefused,
    ReliqError,
    UnencodableArgument,
)
from reliq.testing import Harness
from reliq.wire.codec import decode


@pytest.fixture
def add(app):
    @app.task(name="add")
    def add(a: int, b: int = 1) -> int:
        return a + b

    return add


def envelope(handle):
    return decode(handle.record().payload)


# --- forms of a call ---


def test_a_task_called_as_a_function_runs_here_and_now(add):
    assert add(1, b=2) == 3


def test_delay_publishes_and_the_result_comes_back(harness, add):
    handle = add.delay(1, b=2)
    assert handle.state == "PENDING" and not handle.ready()
    assert harness.run_until_idle() == 1
    assert handle.get(0) == 3


def test_adelay_publishes_from_async_code_and_aget_waits_there(harness, add):
    async def caller():
        handle = await add.adelay(1, 2)
        other = await add.using(priority=3).adelay(2, 2)
        assert await handle.astate() == "PENDING"
        await asyncio.to_thread(harness.run_until_idle)
        return await handle.aget(timeout=0), await other.aget(timeout=0)

    assert asyncio.run(caller()) == (3, 4)


def test_an_async_task_runs_to_its_result(harness, app):
    @app.task
    async def add_later(a: int) -> int:
        await asyncio.sleep(0)
        return a + 1

    handle = add_later.delay(1)
    harness.run_until_idle()
    assert handle.get(0) == 2


def test_an_object_whose_call_is_async_is_an_async_task(harness, app):
    class Adder:
        async def __call__(self, a: int) -> int:
            return a + 1

    handle = app.task(name="adder")(Adder()).delay(1)
    harness.run_until_idle()
    assert handle.get(0) == 2


def test_using_puts_options_first_and_serves_many_calls(harness, add):
    later = add.using(countdown=30, priority=9)
    one, two = later.delay(1), later.delay(2)
    assert [envelope(h).delay for h in (one, two)] == [30_000, 30_000]
    assert one.id != two.id


def test_publish_many_takes_tuples_and_dicts_and_keeps_their_order(harness, app, add):
    handles = app.publish_many(add, [(1,), {"a": 2, "b": 2}, [3, 3]], priority=4)
    harness.run_until_idle()
    assert [h.get(0) for h in handles] == [2, 4, 6]
    assert {h.record().priority for h in handles} == {4}


def test_publish_many_gives_the_error_of_each_call_that_cannot_be_made(harness, app, add):
    good, bad, unfit, last = app.publish_many(add, [(1,), (), ("x",), (2,)])
    assert isinstance(bad, ArityError) and isinstance(unfit, UnencodableArgument)
    harness.run_until_idle()
    assert (good.get(0), last.get(0)) == (2, 3)


@pytest.mark.parametrize("call", ["text", 7])
def test_publish_many_refuses_what_is_no_call(app, harness, add, call):
    with pytest.raises(OptionError, match="a single argument is a tuple of one"):
        app.publish_many(add, [call])


def test_publish_many_refuses_one_id_for_many(app, harness, add):
    with pytest.raises(Exception, match="one task_id cannot be for many"):
        app.publish_many(add, [(1,), (2,)], task_id="x")


def test_send_task_checks_the_arguments_of_a_task_it_knows(app, harness, add):
    handle = app.send_task("add", (1,), {"b": 4})
    harness.run_until_idle()
    assert handle.get(0) == 5
    with pytest.raises(ArityError):
        app.send_task("add", (1, 2, 3))


def test_send_task_publishes_a_task_that_is_defined_elsewhere(app, harness):
    handle = app.send_task("far.away", (1, "two"), {"three": [3]}, queue="there", countdown=5)
    assert handle.record().task == "far.away"
    assert (envelope(handle).body, envelope(handle).queue) == (b'[[1,"two"],{"three":[3]}]', "there")


def test_a_task_sent_before_it_is_defined_gets_its_own_queue_afterwards(app, harness):
    app.send_task("later")
    later = app.task(name="later", queue="pay")(lambda: None)
    assert later.delay().record().queue == "pay"


# --- options ---


def test_countdown_and_eta_put_a_message_off(app, harness, add):
    soon = add.apply_async((1,), countdown=30)
    moment = datetime.fromtimestamp(harness.clock.now_ms() / 1000 + 60, UTC)
    then = add.apply_async((1,), eta=moment)
    assert harness.run_until_idle() == 0
    harness.clock.advance(30)
    assert harness.run_until_idle() == 1 and soon.successful() and not then.ready()
    harness.clock.advance(30)
    assert harness.run_until_idle() == 1 and then.successful()


def test_a_timedelta_is_a_countdown(app, harness, add):
    assert envelope(add.apply_async((1,), countdown=timedelta(minutes=1))).delay == 60_000


def test_eta_and_countdown_together_are_refused(app, harness, add):
    with pytest.raises(OptionError, match="give eta= or countdown=, not both"):
        add.apply_async((1,), countdown=1, eta=datetime.now(UTC))


def test_a_small_number_as_eta_asks_for_countdown(app, harness, add):
    with pytest.raises(InstantError, match=r"did you mean countdown=30\?"):
        add.apply_async((1,), eta=30)


def test_a_naive_eta_is_refused_with_the_corrected_call(app, harness, add):
    with pytest.raises(NaiveDatetimeError) as caught:
        add.apply_async((1,), eta=datetime(2026, 3, 1, 9, 30))  # noqa: DTZ001
    text = str(caught.value)
    assert "eta=2026-03-01 09:30:00 has no time zone, so it names no moment." in text
    assert (
        'Write add.apply_async(..., eta=datetime(2026, 3, 1, 9, 30, tzinfo=ZoneInfo("Europe/Berlin")))'
        in text
    )
    assert "countdown=SECONDS" in text


def test_a_naive_eta_is_wall_time_where_the_app_says_so():
    app = Reliq("shop", broker="memory://", naive="app_timezone", timezone="Europe/Berlin")
    task = app.task(name="t")(lambda: None)
    with Harness(app):
        handle = task.apply_async(eta=datetime(2026, 7, 1, 12))  # noqa: DTZ001
        assert envelope(handle).eta == int(datetime(2026, 7, 1, 10, tzinfo=UTC).timestamp() * 1000)


def test_expires_counts_from_the_publish(app, harness, add):
    handle = add.apply_async((1,), countdown=60, expires=30)
    harness.clock.advance(31)
    assert harness.run_until_idle() == 0
    assert (handle.state, handle.record().reason) == ("REVOKED", "expired")


def test_expires_takes_a_moment(app, harness, add):
    handle = add.apply_async((1,), expires=datetime.fromtimestamp(harness.clock.now_ms() / 1000 + 5, UTC))
    harness.clock.advance(5)
    harness.run_until_idle()
    assert handle.state == "REVOKED"


def test_expires_after_due_counts_from_the_due_time(app, harness, add):
    handle = add.apply_async((1,), countdown=60, expires_after_due=30)
    harness.clock.advance(89)
    assert harness.run_until_idle() == 1 and handle.successful()


def test_a_task_s_own_expires_holds_for_calls_that_say_nothing(app, harness):
    task = app.task(name="t", expires=10)(lambda: None)
    one, two = task.delay(), task.apply_async(expires=100)
    harness.clock.advance(50)
    harness.run_until_idle()
    assert (one.state, two.state) == ("REVOKED", "SUCCESS")


def test_priority_nine_runs_first_and_equal_ones_in_order(app, harness):
    ran = []
    task = app.task(name="note")(lambda n: ran.append(n))
    for n, priority in enumerate([0, 9, 5, 9]):
        task.apply_async((n,), priority=priority)
    harness.run_until_idle()
    assert ran == [1, 3, 2, 0]


def test_a_call_can_name_its_queue(app, harness, add):
    assert add.apply_async((1,), queue="mail").record().queue == "mail"


def test_headers_reach_the_task(app, harness):
    @app.task
    def tell() -> str:
        return current().headers["trace"]

    handle = tell.apply_async(headers={"trace": "abc"})
    harness.run_until_idle()
    assert handle.get(0) == "abc"


def test_a_chosen_id_is_accepted_once(app, harness, add):
    one, two = add.apply_async((1,), task_id="order-1"), add.apply_async((1,), task_id="order-1")
    assert one == two and one.id == "order-1"
    assert harness.run_until_idle() == 1


def test_ignore_result_can_be_said_per_call_and_per_task(app, harness, add):
    quiet = app.task(name="quiet", ignore_result=True)(lambda: 1)
    one, two, three = (
        add.apply_async((1,), ignore_result=True),
        quiet.delay(),
        quiet.apply_async(ignore_result=False),
    )
    harness.run_until_idle()
    assert [h.get(0) for h in (one, two, three)] == [None, None, 1]


def test_limits_of_a_call_stand_over_those_of_the_task(app, harness, add):
    handle = add.apply_async((1,), soft_time_limit=3, time_limit=9)
    delivery = harness.claim().deliveries[0]
    job = harness.runner.open(delivery)
    assert (job.soft, job.hard) == (3, 9) and handle.state == "STARTED"


def test_a_hard_limit_below_the_soft_one_is_refused_for_a_call_too(app, harness):
    task = app.task(name="t", soft_time_limit=10)(lambda: None)
    with pytest.raises(OptionError, match="must be below"):
        task.apply_async(time_limit=5)


def test_an_option_that_is_none_was_not_given(app, harness, add):
    assert add.apply_async((1,), countdown=None, eta=None, expires=None, queue=None).record().state == "ready"


# --- what is refused where it is published ---


def test_a_call_python_would_refuse_is_refused_at_the_publisher(app, harness, add):
    with pytest.raises(ArityError, match="add"):
        add.delay()
    assert harness.run_until_idle() == 0


def test_an_argument_that_would_not_arrive_is_refused_at_the_publisher(app, harness):
    task = app.task(name="t")(lambda x: None)
    with pytest.raises(UnencodableArgument, match="argument 'x'"):
        task.delay(object())


def test_too_large_a_message_is_refused_at_the_publisher(app, harness):
    task = app.task(name="t")(lambda x: None)
    with pytest.raises(MessageTooLarge, match="pass a reference"):
        task.delay("x" * 300_000)


def test_too_large_headers_are_refused_by_their_bytes(app, harness, add):
    with pytest.raises(MessageTooLarge, match="headers"):
        add.apply_async((1,), headers={"a": "\u20ac" * 3000})


@pytest.mark.parametrize("options", [{"headers": {"a": "\udc80"}}, {"queue": "a\udc80"}, {"queue": "a=3"}])
def test_text_that_cannot_be_stored_is_refused_at_the_call(app, harness, add, options):
    with pytest.raises(OptionError):
        add.apply_async((1,), **options)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"countdow": 3}, "Call of 'add' has no option 'countdow'; did you mean 'countdown'?"),
        ({"priority": 10}, "priority is 0 (last) to 9 (first), got 10"),
        ({"expires": -1}, "expires takes seconds above 0 or a timedelta, got -1"),
        ({"expires": 1e16}, "expires=1e+16 is more than 3,000 years of seconds"),
        ({"queue": "a\0b"}, "queue is a name without ',' and '=', got 'a\\x00b'"),
        ({"headers": {"a": 1}}, "headers map texts to texts"),
        ({"link": "add"}, "link takes a call such as other.s(), got 'add'"),
        ({"ignore_result": 1}, "ignore_result takes a bool, got 1"),
        ({"time_limit": "5"}, "time_limit takes seconds"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(app, harness, add, options, text):
    with pytest.raises(OptionError) as caught:
        add.apply_async((1,), **options)
    assert text in str(caught.value)


def test_a_broker_that_cannot_be_opened_refuses_for_certain(tmp_path):
    app = Reliq("shop", broker=f"sqlite:///{tmp_path}/no/such/folder/x.db")
    task = app.task(name="t")(lambda: None)
    with pytest.raises(PublishRefused, match="Nothing was published"):
        task.delay()


def test_waiting_for_a_result_inside_a_task_names_the_way_that_does_not_dead_lock(app, harness, add):
    @app.task
    def outer() -> str:
        handle = add.delay(1)
        said = []
        for wait in (lambda: handle.get(0), lambda: handle.wait(0), lambda: asyncio.run(handle.aget(0))):
            try:
                wait()
            except GetInsideTask as error:
                said.append(str(error))
        return "|".join(said)

    handle = outer.delay()
    harness.run_until_idle()
    texts = handle.get(0).split("|")
    assert len(texts) == 3
    assert all("link=other.s()" in text and "raise Snooze(seconds)" in text for text in texts)


def test_a_task_may_look_at_a_result_that_is_there(app, harness, add):
    earlier = add.delay(1)
    harness.run_until_idle()

    @app.task
    def outer(id: str) -> int:
        handle = app.handle(id)
        return handle.result if handle.ready() else 0

    handle = outer.delay(earlier.id)
    harness.run_until_idle()
    assert handle.get(0) == 2


# --- parents and roots ---


def test_what_a_task_publishes_knows_its_parent_and_root(app, harness):
    seen = {}

    @app.task(name="leaf")
    def leaf(name: str) -> None:
        ctx = current()
        seen[name] = (ctx.id, ctx.root, ctx.parent)

    @app.task(name="middle")
    def middle() -> None:
        seen["middle"] = (current().id, current().root, current().parent)
        leaf.delay("leaf")

    @app.task(name="top")
    def top() -> None:
        middle.delay()

    handle = top.delay()
    harness.run_until_idle()
    assert seen["middle"][1:] == (handle.id, handle.id)
    assert seen["leaf"][1:] == (handle.id, seen["middle"][0])


def test_root_and_parent_can_be_given(app, harness, add):
    one = envelope(add.apply_async((1,), root_id="r", parent_id="p"))
    assert (one.root, one.parent) == ("r", "p")


@pytest.mark.parametrize(
    "call", [lambda t: t.apply_async(1), lambda t: t.apply_async("12"), lambda t: t.apply_async((1,), 2)]
)
def test_args_and_kwargs_that_are_none_are_refused_with_the_form_they_need(add, call):
    with pytest.raises(OptionError, match="takes a (tuple or a list|dict)"):
        call(add)


def test_none_as_args_or_kwargs_is_nothing(add, app):
    @app.task(name="nothing")
    def nothing() -> None: ...

    assert nothing.apply_async(None, None).state == "PENDING"
    assert app.send_task("nothing", None, None).state == "PENDING"


def test_a_handle_prints_as_its_id_and_is_made_by_the_app(add):
    handle = add.delay(1)
    assert f"{handle}" == handle.id and repr(handle) == f"<Handle {handle.id}>"
    with pytest.raises(ReliqError, match="app.AsyncResult"):
        Handle(handle.id)


def test_a_task_of_a_prompt_is_told_that_no_worker_will_find_it(tmp_path):
    code = (
        "from reliq import Reliq\n"
        f"app = Reliq('p', broker='sqlite:///{tmp_path}/p.db')\n"
        "@app.task\ndef f(): ...\n"
        "f.delay()\nf.delay()"
    )
    for form in ({"args": ["-c", code]}, {"args": ["-"], "input": code}):
        done = subprocess.run(
            [sys.executable, *form["args"]],
            input=form.get("input"),
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr.count("no worker can import it") == 1 and "__main__.f" in done.stderr
