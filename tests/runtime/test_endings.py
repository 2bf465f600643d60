"""How runs end: values, errors, verdicts, retries, and what cannot be run at all."""

from __future__ import annotations

import asyncio
import logging
import pickle
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from reliq import Backoff, Done, Drop, Fail, Observer, Reliq, ReliqError, Retry, Snooze, current
from reliq.errors import OptionError, SoftTimeLimitExceeded, TaskCancelled
from reliq.policy.ids import new_id
from reliq.ports.values import ErrorInfo, Publication
from reliq.testing import Harness
from reliq.wire.message import Envelope

KINDS = [pytest.param(False, id="sync"), pytest.param(True, id="async")]


def publish_raw(harness, payload_of: Envelope) -> str:
    """Publish an envelope as another version of the code might."""
    assert harness.engine.publish([Publication(payload_of)])[0].status == "accepted"
    return payload_of.id


def define(app, body, *, is_async=False, **options):
    """A task with the body given, sync or async."""
    if is_async:

        async def work():
            return body()

    else:

        def work():
            return body()

    return app.task(name="work", **options)(work)


def raiser(error):
    def body():
        raise error

    return body


# --- verdicts ---


@pytest.mark.parametrize("is_async", KINDS)
@pytest.mark.parametrize("raised", [True, False], ids=["raised", "returned"])
@pytest.mark.parametrize(
    ("verdict", "state", "reason"),
    [
        (Done(5), "done", None),
        (Drop("unsubscribed"), "dropped", "unsubscribed"),
        (Drop(), "dropped", None),
        (Fail("no address"), "failed", "no address"),
        (Retry(60, reason="later"), "due", "later"),
        (Snooze(60, reason="too early"), "due", "too early"),
    ],
)
def test_a_verdict_means_the_same_raised_or_returned(app, harness, verdict, raised, state, reason, is_async):
    body = raiser(verdict) if raised else lambda: verdict
    handle = define(app, body, is_async=is_async).delay()
    harness.run_one()
    record = handle.record()
    assert (record.state, record.reason) == (state, reason)
    if state == "done":
        assert handle.get(0) == 5
    if state == "due":
        assert record.due == harness.clock.now_ms() + 60_000


@pytest.mark.parametrize("due", [{"countdown": 1_000}, {"eta": 1_000}])
def test_a_message_that_was_sent_for_later_is_not_old_when_its_time_comes(app, harness, due):
    if "eta" in due:
        due = {"eta": datetime.fromtimestamp(harness.clock.now_ms() / 1000 + 1_000, UTC)}
    handle = define(app, lambda: Snooze(50, reason="not yet"), max_snooze=100).apply_async(**due)
    harness.run_until_idle(advance=True)
    assert handle.record().reason == "snoozed for 150 s, max_snooze is 100 s: not yet"
    assert handle.record().snoozes == 3


def test_a_dead_letter_is_not_old_when_its_new_life_begins(app, harness):
    answers = iter([Fail("no"), Snooze(50), Done(7)])
    handle = define(app, lambda: next(answers), max_snooze=100).delay()
    harness.run_until_idle()
    harness.clock.advance(1_000)
    assert harness.engine.replay(handle.id)
    harness.run_one()
    assert handle.record().state == "due"


def test_a_snooze_gives_the_attempt_back_and_a_retry_counts(app, harness):
    task = define(
        app, lambda: Snooze(1) if current().attempt == 1 and not runs.append(1) and len(runs) < 3 else None
    )
    runs: list[int] = []
    handle = task.delay()
    harness.run_until_idle(advance=True)
    record = handle.record()
    assert (record.attempt, record.snoozes, record.retries, len(runs)) == (1, 2, 0, 3)


def test_a_verdict_can_name_a_moment(app, harness):
    at = datetime.fromtimestamp(harness.clock.now_ms() / 1000 + 90, UTC)
    handle = define(app, lambda: Retry(at=at)).delay()
    harness.run_one()
    assert handle.record().due == harness.clock.now_ms() + 90_000


def test_snoozing_has_an_end(app, harness):
    handle = define(app, lambda: Snooze(50, reason="not yet"), max_snooze=100).delay()
    harness.run_until_idle(advance=True)
    assert handle.record().reason == "snoozed for 150 s, max_snooze is 100 s: not yet"
    assert handle.state == "FAILURE"


def test_a_verdict_s_delay_is_checked_where_it_is_made():
    for wrong in ("5", True, float("nan"), float("inf"), 2e9, object()):
        with pytest.raises((TypeError, ValueError)):
            Retry(wrong)
    with pytest.raises(TypeError, match="aware"):
        Snooze(at=datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(TypeError, match="aware"):
        Retry(at=1.7e9)
    assert Retry(timedelta(minutes=1)).after == 60


def test_verdicts_compare_by_value_and_pickle_with_what_they_carry():
    drop = Drop("x")
    drop.existing_id = "y"
    copy = pickle.loads(pickle.dumps(drop))
    assert copy == drop == Drop("x") != Drop("z") and copy.existing_id == "y"


def test_a_verdict_raised_from_an_error_records_that_error(app, harness):
    def body():
        try:
            {}["card"]
        except KeyError as error:
            raise Fail("no card") from error

    handle = define(app, body).delay()
    harness.run_one()
    assert handle.record().reason == "no card" and "KeyError: 'card'" in handle.traceback


def test_a_long_or_odd_reason_is_cut_to_what_can_be_stored(app, harness):
    handle = define(app, raiser(Fail("\udc80" + "x" * 10_000))).delay()
    harness.run_one()
    assert handle.record().reason.startswith("\\udc80xxx") and len(handle.record().reason) < 600


# --- errors and retries ---


@pytest.mark.parametrize("is_async", KINDS)
def test_an_error_fails_unless_the_task_asks_for_retries(app, harness, is_async):
    handle = define(app, raiser(ValueError("no")), is_async=is_async).delay()
    harness.run_until_idle()
    assert (handle.state, handle.record().attempt, handle.record().reason) == ("FAILURE", 1, "ValueError: no")


@pytest.mark.parametrize("option", ["retry_on", "autoretry_for"])
@pytest.mark.parametrize(("max_retries", "attempts"), [(0, 1), (1, 2), (4, 5)])
def test_max_retries_bounds_the_attempts(app, harness, option, max_retries, attempts):
    task = define(app, raiser(OSError("x")), max_retries=max_retries, **{option: (OSError,)})
    handle = task.delay()
    assert harness.run_until_idle(advance=True) == attempts
    assert handle.state == "FAILURE" and handle.record().retries == max_retries


def test_max_retries_none_never_gives_up(app, harness):
    runs = []

    def body():
        runs.append(1)
        if len(runs) < 50:
            raise OSError

    handle = define(app, body, retry_on=OSError, max_retries=None).delay()
    harness.run_until_idle(advance=True)
    assert handle.state == "SUCCESS" and len(runs) == 50


def test_the_app_says_what_tasks_that_say_nothing_do():
    app = Reliq("shop", broker="memory://", retry_on=(OSError,), max_retries=1)
    one = define(app, raiser(OSError()))
    two = app.task(name="two", retry_on=(), max_retries=5)(raiser(OSError()))
    with Harness(app) as harness:
        handles = [one.delay(), two.delay()]
        harness.run_until_idle(advance=True)
        assert [h.record().attempt for h in handles] == [2, 1]


def test_dont_retry_on_takes_out_some_of_what_is_retried(app, harness):
    task = define(app, raiser(FileNotFoundError()), retry_on=(OSError,), dont_retry_on=(FileNotFoundError,))
    handle = task.delay()
    assert harness.run_until_idle(advance=True) == 1 and handle.failed()


def test_back_off_grows_as_the_task_says(app, harness):
    backoff = Backoff(base=10, factor=3, max=50, jitter="none")
    handle = define(app, raiser(OSError()), retry_on=OSError, max_retries=3, backoff=backoff).delay()
    waits = []
    while harness.run_one().state == "due":
        waits.append((handle.record().due - harness.clock.now_ms()) / 1000)
        harness.clock.advance(waits[-1])
    assert waits == [10, 30, 50]


def test_the_default_back_off_waits_at_least_half_a_second_and_at_most_two_to_the_n(app, harness):
    handle = define(app, raiser(OSError()), retry_on=OSError, max_retries=4).delay()
    for n in range(4):
        assert harness.run_one().state == "due"
        wait = (handle.record().due - harness.clock.now_ms()) / 1000
        assert 0.5 <= wait <= 2**n
        harness.clock.advance(wait)


def test_throws_are_failures_that_nobody_logs_as_faults(app, harness, caplog):
    handle = define(app, raiser(KeyError("known")), throws=(KeyError,)).delay()
    harness.run_until_idle()
    assert handle.failed() and "KeyError: 'known'" in handle.traceback
    assert [r.levelname for r in caplog.records if "failed" in r.message] == ["INFO"]


@pytest.mark.parametrize("is_async", KINDS)
@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()]
)
def test_what_would_end_a_process_ends_the_run_only(app, harness, error, is_async):
    handle = define(app, raiser(error), is_async=is_async).delay()
    harness.run_until_idle()
    assert handle.failed() and f"the task raised {type(error).__name__}" in handle.record().reason
    after = app.task(name="after")(lambda: "alive").delay()
    harness.run_until_idle()
    assert after.get(0) == "alive"


class Odd(BaseException):
    pass


@pytest.mark.parametrize("is_async", KINDS)
def test_an_error_of_the_user_s_own_below_base_exception_fails_or_is_retried_like_any_other(
    app, harness, is_async
):
    handle = define(app, raiser(Odd("x")), is_async=is_async, retry_on=Odd, max_retries=1).delay()
    assert harness.run_until_idle(advance=True) == 2
    assert handle.record().reason == "Odd: x (after 1 retry)"


class Wordless(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")

    __repr__ = __str__


@pytest.mark.parametrize(
    "error",
    [Wordless(), ValueError("file \udcff.txt"), ValueError("x" * 1_000_000), ValueError("\x00\x1b[2J")],
    ids=["wordless", "a lone surrogate", "long", "control characters"],
)
def test_an_error_whose_text_cannot_be_had_or_stored_fails_like_any_other(app, harness, error, monkeypatch):
    # pytest's own capture of the log cannot send a lone surrogate from one process to another.
    monkeypatch.setattr(logging.getLogger("reliq.task"), "disabled", True)
    handle = define(app, raiser(error)).delay()
    harness.run_until_idle()
    record = handle.record()
    assert handle.failed() and len(record.error) < 20_000 and len(record.reason) <= 500
    assert msgspec.msgpack.decode(record.error, type=ErrorInfo).kind.endswith(type(error).__name__)


def test_a_cancelled_part_of_an_async_task_is_not_a_cancelled_message(app, harness):
    @app.task
    async def outer() -> None:
        part = asyncio.ensure_future(asyncio.sleep(3600))
        part.cancel()
        await part

    handle = outer.delay()
    harness.run_until_idle()
    assert handle.failed() and "CancelledError" in handle.record().reason


def test_a_cancelled_async_run_is_dropped(app, harness):
    started = asyncio.Event()

    @app.task
    async def endless() -> None:
        started.set()
        await asyncio.sleep(3600)

    endless.delay()
    job = harness.runner.open(harness.claim().deliveries[0])

    async def run():
        run = asyncio.ensure_future(harness.runner.arun(job))
        await started.wait()
        run.cancel()
        return await run

    settlement = asyncio.run(run())
    assert (settlement.kind, settlement.reason) == ("dropped", "cancelled")


def test_a_stopped_task_is_dropped_as_cancelled(app, harness):
    handle = define(app, raiser(TaskCancelled())).delay()
    harness.run_until_idle()
    assert (handle.state, handle.record().reason) == ("REVOKED", "cancelled")


def test_the_soft_limit_of_an_async_task_raises_inside_it(app, harness):
    seen = []

    @app.task(soft_time_limit=0.01, time_limit=60)
    async def slow() -> str:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            seen.append("cleaned")
            raise
        return "late"

    handle = slow.delay()
    harness.run_until_idle()
    assert seen == ["cleaned"] and SoftTimeLimitExceeded.__name__ in handle.record().reason


# --- results ---


def test_a_result_nobody_can_store_fails_the_message_and_says_why(app, harness):
    handle = define(app, lambda: object()).delay()
    harness.run_until_idle()
    assert handle.failed() and handle.record().reason.startswith("result cannot be stored: work() returned")


def test_a_result_nobody_wants_need_not_be_storable(app, harness):
    handle = define(app, lambda: object(), ignore_result=True).delay()
    harness.run_until_idle()
    assert handle.successful()


def test_a_result_beyond_the_limit_fails_the_message(app, harness):
    handle = define(app, lambda: "x" * 2_000_000).delay()
    harness.run_until_idle()
    assert handle.failed() and "the limit is 1,048,576" in handle.record().reason


@pytest.mark.parametrize("ignore", [True, False])
def test_a_coroutine_that_nobody_awaited_is_no_success(app, harness, ignore):
    async def inner():
        pass

    handle = define(app, lambda: inner(), ignore_result=ignore).delay()
    harness.run_until_idle()
    assert handle.failed() and "returned a coroutine that nobody awaited" in handle.record().reason


# --- bound tasks ---


def test_a_bound_task_sees_its_request(app, harness):
    seen = {}

    @app.task(bind=True, name="seen")
    def work(self, a: int, b: int = 2) -> None:
        request = self.request
        seen.update(
            id=request.id, args=request.args, kwargs=request.kwargs, retries=request.retries,
            headers=dict(request.headers), name=self.name, attempt=request.attempt, queue=request.queue,
        )  # fmt: skip

    handle = work.apply_async((1,), {"b": 3}, headers={"h": "v"}, queue="q")
    harness.run_until_idle()
    assert seen == {
        "id": handle.id, "args": (1,), "kwargs": {"b": 3}, "retries": 0,
        "headers": {"h": "v"}, "name": "seen", "attempt": 1, "queue": "q",
    }  # fmt: skip


def test_self_retry_moves_the_message_and_names_the_error(app, harness):
    @app.task(bind=True, name="flaky", max_retries=2)
    def flaky(self) -> None:
        try:
            raise OSError("down")
        except OSError as error:
            raise self.retry(exc=error, countdown=7) from error

    handle = flaky.delay()
    harness.run_one()
    record = handle.record()
    assert (record.state, record.reason, record.due) == (
        "due",
        "OSError: down",
        harness.clock.now_ms() + 7_000,
    )
    assert "OSError: down" in handle.traceback
    assert harness.run_until_idle(advance=True) == 2
    assert handle.failed() and handle.record().reason == "OSError: down"


def test_self_retry_takes_a_limit_of_its_own_over_the_task_s(app, harness):
    @app.task(bind=True, max_retries=1)
    def flaky(self) -> None:
        raise self.retry(countdown=1, max_retries=4)

    handle = flaky.delay()
    assert harness.run_until_idle(advance=True) == 5
    assert handle.record().reason == "asked for a retry, but max_retries is 4"


def test_self_retry_can_give_the_verdict_instead_of_raising_it(app, harness):
    @app.task(bind=True)
    def flaky(self):
        return self.retry(countdown=1, throw=False)

    handle = flaky.delay()
    harness.run_one()
    assert handle.state == "RETRY"


def test_self_retry_cannot_change_the_arguments(app, harness):
    @app.task(bind=True)
    def flaky(self, n: int) -> None:
        self.retry(args=(n + 1,))

    handle = flaky.delay(1)
    harness.run_one()
    assert "publish a new message" in handle.record().reason


def test_current_works_inside_a_task_and_says_so_outside(app, harness):
    handle = define(app, lambda: [current().id, current().task.name, current().idempotency_key]).delay()
    harness.run_until_idle()
    assert handle.get(0) == [handle.id, "work", handle.id]
    with pytest.raises(ReliqError, match="works inside a running task"):
        current()


# --- messages that cannot be run ---


def test_a_message_for_an_unknown_task_is_parked_and_runs_once_the_task_is_there(app, harness, caplog):
    define(app, lambda: None)
    handle = app.send_task("worc")
    harness.run_one()
    assert handle.record().reason == "parked: No task 'worc'; did you mean 'work'?"
    assert "is parked: No task 'worc'; did you mean 'work'?" in caplog.text
    app.task(name="worc")(lambda: "deployed")
    harness.run_until_idle(advance=True)
    assert handle.get(0) == "deployed" and handle.record().attempt == 1


def test_a_parked_message_fails_after_park_for(caplog):
    app = Reliq("shop", broker="memory://", park_for=90)
    with Harness(app) as harness:
        handle = app.send_task("nowhere")
        began = harness.clock.now_ms()
        assert harness.run_until_idle(advance=True) == 3
        assert handle.failed() and handle.record().ended - began == 90_000
        assert handle.record().reason == "unknown task for 0.025 h: No task 'nowhere'; there are none"


def test_what_cannot_be_decoded_is_quarantined_with_its_bytes(app, harness):
    define(app, lambda: None)
    handle = app.send_task("work")
    delivery = harness.claim().deliveries[0]
    damaged = msgspec.structs.replace(delivery, payload=b"\xc1 damaged")
    harness.settle(damaged)
    record = handle.record()
    assert handle.failed() and record.reason.startswith("undecodable: ")
    assert record.payload  # what the broker was given stays for a look at it


def test_arguments_that_no_longer_fit_fail_and_say_so(app, harness):
    @app.task(name="typed")
    def typed(n: int) -> None: ...

    for body, said in [
        (b'[["x"],{}]', "was sent 'n' that does not fit its annotation"),
        (b"[[1,2],{}]", "arguments do not fit"),
        (b"[[],{}]", "arguments do not fit"),
        (b'{"no": "body"}', "arguments do not fit"),
    ]:
        id = publish_raw(harness, Envelope(v=1, id=new_id(), task="typed", queue="default", body=body))
        harness.run_one()
        assert app.handle(id).failed() and said in app.handle(id).record().reason


class Picky(msgspec.Struct):
    n: int

    def __post_init__(self) -> None:
        if self.n < 0:
            raise LookupError("no such thing")


def test_an_argument_whose_class_refuses_it_fails_the_message_not_the_worker(app, harness):
    app.task(name="picky")(lambda it: None)

    @app.task(name="choosy")
    def choosy(it: Picky) -> None: ...

    body = b'[[{"n":-1}],{}]'
    id = publish_raw(harness, Envelope(v=1, id=new_id(), task="choosy", queue="default", body=body))
    harness.run_one()
    assert app.handle(id).failed() and "no such thing" in app.handle(id).record().reason


def test_a_crash_is_charged_and_the_third_one_alone_quarantines(app, harness):
    handle = define(app, lambda: None).delay()
    for _ in range(3):
        harness.crash()
        harness.clock.advance(60)
    assert handle.failed() and handle.record().reason == "crashed 3 times"


def test_an_unstarted_message_of_a_dead_process_is_not_charged(app, harness):
    handle = define(app, lambda: 1).delay()
    harness.crash(started=False)
    assert handle.record().crashes == 0
    harness.run_until_idle()
    assert handle.successful() and handle.record().attempt == 1


# --- options of tasks ---


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"max_retris": 3}, "Task 'work' has no option 'max_retris'; did you mean 'max_retries'?"),
        ({"max_retries": -1}, "max_retries is a whole number from 0, got -1"),
        ({"max_crashes": 0}, "max_crashes is a whole number from 1, got 0"),
        ({"retry_on": "OSError"}, "retry_on takes exception classes, got 'OSError'"),
        ({"priority": "high"}, "priority is 0 (last) to 9 (first), got 'high'"),
        ({"bind": "yes"}, "bind is True or False, got 'yes'"),
        ({"queue": "a,b"}, "queue is a name without ',' and '=', got 'a,b'"),
        ({"time_limit": 5, "soft_time_limit": 5}, "soft_time_limit=5.0 must be below time_limit=5.0"),
        ({"backoff": Backoff(), "retry_backoff": True}, "give backoff= or Celery's retry_backoff, not both"),
        ({"retry_kwargs": {"eta": 3}}, "retry_kwargs takes max_retries and countdown, got 'eta'"),
    ],
)
def test_a_task_option_that_cannot_be_used_is_named_where_the_task_is_defined(app, options, text):
    with pytest.raises(OptionError) as caught:
        define(app, lambda: None, **options)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("body", "gave_up"),
    [
        (lambda: Fail("no"), False),
        (lambda: 1 / 0, False),
        (lambda: [].pop(), True),
        (lambda: Retry(1), True),
    ],
)
def test_a_failure_tells_whether_the_policy_gave_up_or_never_wanted_to_try_again(body, gave_up):
    heard = []

    class Hears(Observer):
        def settling(self, ctx, verdict):
            heard.append(verdict)

    app = Reliq("shop", broker="memory://", middleware=[Hears()])
    app.task(name="work", retry_on=IndexError, max_retries=0)(body)
    with Harness(app) as harness:
        app.tasks["work"].delay()
        harness.run_until_idle()
    assert [(type(v), v.gave_up) for v in heard] == [(Fail, gave_up)]
