"""The run side of middleware: order, unwinding, verdicts, and what breaks."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars

import pytest

from reliq import Done, Drop, Fail, Middleware, Observer, Reliq, Retry, Snooze, Task, current
from reliq.errors import HookError, OptionError
from reliq.ports import Put, Remove, records
from reliq.testing import Harness, drive

KINDS = [pytest.param(False, id="sync"), pytest.param(True, id="async")]


class Recorder(Middleware):
    """Notes each hook into a shared list; hooks do what `acts` says under `name.hook`."""

    def __init__(self, name: str, notes: list[str], **acts) -> None:
        self.name = name
        self.notes = notes
        self.acts = acts

    def _note(self, hook: str):
        self.notes.append(f"{self.name}.{hook}")
        act = self.acts.get(hook)
        if (
            isinstance(act, BaseException)
            and getattr(act, "raised", True)
            and not isinstance(act, (Done, Drop, Retry, Snooze, Fail))
        ):
            raise act
        return act

    def publish(self, ctx):
        self._note("publish")
        yield
        self._note("published")

    def prerun(self, ctx):
        return self._note("prerun")

    def around(self, ctx):
        self._note("around")
        try:
            yield
        finally:
            self._note("around_left")

    def postrun(self, ctx, value):
        return self._note("postrun")

    def failure(self, ctx, error):
        return self._note("failure")

    def settling(self, ctx, verdict):
        self._note("settling")

    def settled(self, ctx, ending):
        self._note("settled")


class RecordingObserver(Observer, Recorder):
    pass


def run(middleware, body=lambda: 1, *, is_async=False, advance=False, **options):
    app = Reliq("shop", broker="memory://", middleware=middleware)
    if is_async:

        async def work():
            return body()
    else:

        def work():
            return body()

    task = app.task(name="work", **options)(work)
    with Harness(app) as harness:
        handle = task.delay()
        harness.run_until_idle(advance=advance)
        return handle, handle.record(), harness


def boom():
    raise ValueError("no")


# --- order ---


@pytest.mark.parametrize("is_async", KINDS)
def test_hooks_enter_first_to_last_and_unwind_last_to_first(is_async):
    notes: list[str] = []
    run([Recorder("a", notes), Recorder("b", notes)], lambda: notes.append("task"), is_async=is_async)
    assert notes == [
        "a.publish", "b.publish", "b.published", "a.published",
        "a.prerun", "b.prerun", "a.around", "b.around", "task", "b.around_left", "a.around_left",
        "b.postrun", "a.postrun", "b.settling", "a.settling", "b.settled", "a.settled",
    ]  # fmt: skip


@pytest.mark.parametrize("is_async", KINDS)
def test_after_an_error_failure_runs_instead_of_postrun(is_async):
    notes: list[str] = []
    run([Recorder("a", notes), Recorder("b", notes)], boom, is_async=is_async)
    assert notes[8:] == [
        "b.around_left", "a.around_left", "b.failure", "a.failure", "b.settling", "a.settling", "b.settled",
        "a.settled",
    ]  # fmt: skip


@pytest.mark.parametrize("is_async", KINDS)
@pytest.mark.parametrize("early", [Drop("closed"), Snooze(5), Fail("no"), Retry(5)])
def test_a_verdict_of_prerun_ends_it_there_and_only_what_was_entered_unwinds(early, is_async):
    notes: list[str] = []
    middleware = [Recorder("a", notes), Recorder("b", notes, prerun=early), Recorder("c", notes)]
    _, record, _ = run(middleware, boom, is_async=is_async)
    assert notes[6:] == ["a.prerun", "b.prerun", "b.settling", "a.settling", "b.settled", "a.settled"]
    assert record.state == {Drop: "dropped", Fail: "failed"}.get(type(early), "due")


@pytest.mark.parametrize("is_async", KINDS)
def test_done_from_prerun_takes_the_place_of_the_task(is_async):
    notes: list[str] = []
    middleware = [Recorder("a", notes), Recorder("b", notes, prerun=Done("cached")), Recorder("c", notes)]
    run(middleware, boom, is_async=is_async)
    assert notes[6:] == [
        "a.prerun", "b.prerun", "b.postrun", "a.postrun", "b.settling", "a.settling", "b.settled", "a.settled",
    ]  # fmt: skip


def test_the_value_of_a_short_circuit_is_the_result():
    class Cached(Middleware):
        def prerun(self, ctx):
            return Done("cached")

    _, record, _ = run([Cached()], boom)
    assert (record.state, record.value) == ("done", b'"cached"')


@pytest.mark.parametrize("is_async", KINDS)
def test_a_broken_prerun_fails_the_message_and_unwinds_what_was_entered_before_it(is_async):
    notes: list[str] = []
    middleware = [
        Recorder("a", notes),
        Recorder("b", notes, prerun=OSError("store away")),
        Recorder("c", notes),
    ]
    _, record, _ = run(middleware, is_async=is_async)
    assert notes[6:] == ["a.prerun", "b.prerun", "a.failure", "a.settling", "a.settled"]
    assert (record.state, record.reason) == ("failed", "OSError: store away")


def test_a_broken_prerun_is_retried_where_its_error_is():
    tries = []

    class Flaky(Middleware):
        def prerun(self, ctx):
            tries.append(1)
            if len(tries) < 3:
                raise OSError

    _, record, _ = run([Flaky()], retry_on=OSError, advance=True)
    assert record.state == "done" and len(tries) == 3


# --- verdicts ---


@pytest.mark.parametrize("is_async", KINDS)
def test_the_first_verdict_wins_and_all_hooks_run(is_async):
    for hook, body in (("postrun", lambda: 1), ("failure", boom)):
        notes: list[str] = []
        middleware = [
            Recorder("a", notes, **{hook: Fail("outer")}),
            Recorder("b", notes, **{hook: Drop("inner")}),
            Recorder("c", notes),
        ]
        _, record, _ = run(middleware, body, is_async=is_async)
        assert (record.state, record.reason) == ("dropped", "inner (decided by middleware 'b')")
        assert [n for n in notes if hook in n] == [f"c.{hook}", f"b.{hook}", f"a.{hook}"]


def test_failure_can_decide_against_the_task_s_policy_and_postrun_against_its_value():
    class Patient(Middleware):
        def failure(self, ctx, error):
            return Retry(7) if ctx.retries < 1 else None

        def postrun(self, ctx, value):
            return Drop("unwanted") if value == "x" else None

    _, record, _ = run([Patient()], boom)
    assert record.state == "due" and record.due - record.transitions[-1].at == 7_000
    assert run([Patient()], lambda: "x")[1].reason == "unwanted (decided by middleware 'patient')"


@pytest.mark.parametrize("hook", ["prerun", "around", "postrun", "failure"])
def test_a_verdict_raised_in_a_hook_means_the_same_as_one_returned(hook):
    def act(self, *args):
        raise Drop("raised")

    def around(self, ctx):
        raise Drop("raised")
        yield

    middleware = type("Raising", (Middleware,), {hook: around if hook == "around" else act})()
    _, record, _ = run([middleware], boom if hook == "failure" else lambda: 1)
    assert record.state == "dropped" and record.reason.startswith("raised")


def test_a_retry_of_a_hook_is_bounded_by_max_retries():
    class Stubborn(Middleware):
        def postrun(self, ctx, value):
            return Retry(1)

    _, record, _ = run([Stubborn()], max_retries=2, advance=True)
    assert record.reason == "asked for a retry, but max_retries is 2" and record.attempt == 3


@pytest.mark.parametrize("hook", ["prerun", "postrun", "failure"])
def test_a_hook_that_returns_no_verdict_is_told(hook, caplog):
    middleware = type("Talking", (Middleware,), {hook: lambda self, *args: "yes"})()
    _, record, _ = run([middleware], boom if hook == "failure" else lambda: 1)
    assert record.state == "failed"
    assert "returned 'yes'; a hook returns a verdict or None" in (record.reason or "") + caplog.text


def test_a_verdict_of_the_task_itself_is_not_put_before_postrun_or_failure():
    notes: list[str] = []
    run([Recorder("a", notes)], lambda: Drop("mine"))
    assert notes[2:] == ["a.prerun", "a.around", "a.around_left", "a.settling", "a.settled"]


# --- broken hooks ---


@pytest.mark.parametrize("is_async", KINDS)
def test_a_broken_postrun_is_an_error_for_what_stands_further_out(is_async):
    notes: list[str] = []
    middleware = [Recorder("a", notes), Recorder("b", notes, postrun=OSError("x")), Recorder("c", notes)]
    _, record, _ = run(middleware, is_async=is_async)
    ends = [n for n in notes if n.endswith(("postrun", "failure"))]
    assert ends == ["c.postrun", "b.postrun", "a.failure"]
    assert record.reason == "OSError: x"


def test_a_broken_failure_hook_is_logged_and_the_others_and_the_policy_go_on(caplog):
    notes: list[str] = []
    middleware = [Recorder("a", notes), Recorder("b", notes, failure=OSError("x"))]
    _, record, _ = run(middleware, boom)
    assert [n for n in notes if n.endswith("failure")] == ["b.failure", "a.failure"]
    assert record.reason == "ValueError: no" and "middleware 'b' failed in failure" in caplog.text


@pytest.mark.parametrize("hook", ["settling", "settled"])
def test_a_broken_telling_hook_is_logged_and_changes_nothing(hook, caplog):
    notes: list[str] = []
    _, record, _ = run([Recorder("a", notes), Recorder("b", notes, **{hook: OSError("x")})])
    assert record.state == "done" and f"a.{hook}" in notes
    assert f"middleware 'b' failed in {hook}" in caplog.text


@pytest.mark.parametrize("is_async", KINDS)
@pytest.mark.parametrize(
    "hook", ["prerun", "postrun", "failure", "settling", "settled", "around", "around_left"]
)
@pytest.mark.parametrize("act", [OSError("x"), Drop("unheard")])
def test_an_observer_changes_nothing(hook, act, is_async, caplog):
    for body, reason in ((lambda: 1, None), (boom, "ValueError: no")):
        notes: list[str] = []
        observer = RecordingObserver("o", notes, **{hook: act})
        _, record, _ = run([Recorder("a", notes), observer, Recorder("c", notes)], body, is_async=is_async)
        assert record.reason == reason and f"o.{hook}" in [*notes, "o.postrun", "o.failure"]
        assert {"a.settled", "c.settled"} <= set(notes)
    if isinstance(act, OSError):
        assert f"observer 'o' failed in {hook.removesuffix('_left')}" in caplog.text
    elif hook in ("prerun", "postrun", "failure"):
        assert "it decides nothing" in caplog.text


# --- around ---

variable = contextvars.ContextVar("variable", default="outside")


class Setting(Middleware):
    def around(self, ctx):
        token = variable.set("inside")
        try:
            yield
        finally:
            variable.reset(token)


@pytest.mark.parametrize("is_async", KINDS)
def test_around_stands_in_the_task_s_own_context(is_async):
    _, record, _ = run([Setting()], lambda: variable.get(), is_async=is_async)
    assert record.value == b'"inside"' and variable.get() == "outside"


class Watching(Middleware):
    def __init__(self) -> None:
        self.seen: list[object] = []

    def around(self, ctx):
        try:
            self.seen.append((yield))
        except BaseException as error:
            self.seen.append(error)
            raise


@pytest.mark.parametrize("is_async", KINDS)
def test_around_sees_the_value_or_the_error(is_async):
    watching = Watching()
    run([watching], lambda: 5, is_async=is_async)
    run([watching], boom, is_async=is_async)
    assert watching.seen[0] == 5 and str(watching.seen[1]) == "no"


@pytest.mark.parametrize("error", [ValueError("x"), StopIteration("x"), Drop("x"), KeyError("x")])
def test_what_the_task_raised_leaves_around_as_it_was(error):
    def body():
        raise error

    def trace_of(middleware):
        error.__traceback__ = None
        _, record, _ = run(middleware, body)
        return record.state, record.reason, record.error

    assert trace_of([Watching(), Setting()]) == trace_of([])


def around_of(function):
    return type("Odd", (Middleware,), {"around": function})()


def swallowing(self, ctx):
    with contextlib.suppress(ValueError):
        yield


def twice(self, ctx):
    with contextlib.suppress(ValueError):
        yield
    yield


def never(self, ctx):
    return
    yield


def plain(self, ctx):
    return None


def unclosable(self, ctx):
    for _ in range(3):
        with contextlib.suppress(BaseException):
            yield


@pytest.mark.parametrize("is_async", KINDS)
@pytest.mark.parametrize(
    ("around", "said"),
    [
        (swallowing, "HookSwallowed: odd.around swallowed a ValueError; it must raise it again"),
        (twice, "HookError: odd.around yielded twice"),
        (unclosable, "HookError: odd.around yielded twice"),
        (never, "HookError: odd.around ended without a yield"),
        (plain, "HookError: odd.around gave None; it is a generator with one yield"),
    ],
)
def test_an_around_that_is_no_context_manager_is_told(around, said, is_async):
    notes: list[str] = []
    _, record, _ = run(
        [Recorder("a", notes), around_of(around), Recorder("c", notes)], boom, is_async=is_async
    )
    assert (record.state, record.reason) == ("failed", said)
    assert "a.around_left" in notes and ("c.around_left" in notes) == ("c.around" in notes)


def test_an_observer_that_swallows_or_yields_twice_changes_nothing(caplog):
    for function in (swallowing, twice, unclosable, never):
        observer = type("Odd", (Observer,), {"around": function})()
        assert run([observer], boom)[1].reason == "ValueError: no"
    assert "observer 'odd' failed in around" in caplog.text


def test_an_error_of_around_after_the_task_is_the_run_s_error():
    def closing(self, ctx):
        yield
        raise OSError("close")

    assert run([around_of(closing)])[1].reason == "OSError: close"


def test_around_is_entered_once_per_attempt():
    watching = Watching()
    run([watching], boom, retry_on=ValueError, max_retries=2, advance=True)
    assert len(watching.seen) == 3


# --- effects ---


class Effects(Middleware):
    def prerun(self, ctx):
        ctx.with_settlement(Put(f"run:{ctx.attempt}"))

    def settling(self, ctx, verdict):
        ctx.with_settlement(Put(f"verdict:{type(verdict).__name__}"))


@pytest.mark.parametrize("is_async", KINDS)
def test_effects_belong_to_the_settlement_whatever_the_verdict(is_async):
    app = Reliq("shop", broker="memory://", middleware=[Effects()])
    task = app.task(name="flaky", retry_on=ValueError, max_retries=1)(boom)
    with Harness(app) as harness:
        task.delay()
        harness.run_one()
        assert [k for k, _ in sorted(records(harness.engine, ""))] == ["run:1", "verdict:Retry"]
        harness.run_until_idle(advance=True)
        assert [k for k, _ in sorted(records(harness.engine, ""))] == [
            "run:1",
            "run:2",
            "verdict:Fail",
            "verdict:Retry",
        ]


def test_settling_hears_a_failure_when_the_result_cannot_be_stored():
    app = Reliq("shop", broker="memory://", middleware=[Effects()])
    task = app.task(name="odd")(lambda: object())
    with Harness(app) as harness:
        task.delay()
        harness.run_until_idle()
        assert [k for k, _ in sorted(records(harness.engine, "verdict"))] == ["verdict:Fail"]


def test_a_stale_settlement_has_no_effects_and_settled_hears_of_it():
    answers = []

    class Telling(Effects):
        def settled(self, ctx, ending):
            answers.append(
                (ending.answer, ending.state, type(ending.verdict).__name__, ending.duration is not None)
            )

    app = Reliq("shop", broker="memory://", middleware=[Telling()])
    task = app.task(name="t")(lambda: 1)
    with Harness(app) as harness:
        task.delay()
        delivery = harness.claim().deliveries[0]
        harness.engine.bury(delivery.receipt.owner, started=[delivery.receipt])
        harness.settle(delivery)
        assert sorted(records(harness.engine, "")) == []
    assert answers == [("stale", "done", "Done", True)]


@pytest.mark.parametrize(
    ("body", "heard"),
    [
        (lambda: 1, []),
        (boom, []),
        (lambda: Drop("no"), []),
        (lambda: Snooze(2), ["Snooze"]),
        (lambda: Retry(2), ["Retry"]),
    ],
)
def test_a_hook_hears_only_of_the_verdicts_it_asks_for(body, heard):
    told = []

    class Again(Middleware):
        settling_on = frozenset({"retry", "snooze"})

        def settling(self, ctx, verdict):
            told.append(type(verdict).__name__)

    app = Reliq("shop", broker="memory://", middleware=[Again()])
    task = app.task(name="t", max_retries=1)(body)
    with Harness(app) as harness:
        task.delay()
        harness.run_one()
    assert told == heard and task.chain.ends_alone == (True, True)


def test_a_hook_can_ask_for_results_only_where_they_are_kept():
    told = []

    class Results(Middleware):
        settling_on = frozenset({"result"})

        def settling(self, ctx, verdict):
            told.append(verdict.value)

    app = Reliq("shop", broker="memory://", middleware=[Results()])
    task = app.task(name="t")(lambda n: n)
    with Harness(app) as harness:
        task.delay(1)
        task.apply_async((2,), ignore_result=True)
        harness.run_until_idle()
    assert told == [1] and task.chain.ends_alone == (True, False)


def test_what_nobody_looks_at_is_settled_with_its_result_and_its_effects():
    class Marking(Middleware):
        def prerun(self, ctx):
            ctx.with_settlement(Put("ran", b"1"))

    app = Reliq("shop", broker="memory://", middleware=[Marking()])
    task = app.task(name="t")(lambda: {"n": 7})
    with Harness(app) as harness:
        handle = task.delay()
        harness.run_one()
        assert handle.get(1) == {"n": 7} and harness.engine.store_get("ran").data == b"1"
    assert task.chain.ends_alone == (True, True)


def test_a_publish_inside_a_task_shows_the_run_that_makes_it():
    seen = []

    class Looking(Middleware):
        def publish(self, ctx):
            seen.append(ctx.inside)

    app = Reliq("shop", broker="memory://", middleware=[Looking()])
    other = Reliq("other", broker="memory://", middleware=[Looking()])
    inner, foreign = app.task(name="inner")(lambda: None), other.task(name="inner")(lambda: None)
    outer = app.task(name="outer")(lambda: [inner.delay(), foreign.delay()].clear())
    with Harness(app) as harness:
        handle = outer.delay()
        harness.run_one()
    assert [run and run.id for run in seen] == [None, handle.id, None]
    other.close()


def test_what_a_publish_hook_puts_on_the_ending_applies_on_that_ending_only():
    class Marking(Middleware):
        def publish(self, ctx):
            ctx.with_publish(Put(f"live:{ctx.id}", holder=ctx.id))
            ctx.on_end("any", Remove(f"live:{ctx.id}"))
            ctx.on_end("failed", Put("failed"))
            ctx.on_end("done", Put("done"))

    app = Reliq("shop", broker="memory://", middleware=[Marking()])
    task = app.task(name="t")(lambda bad: 1 / (not bad))
    with Harness(app) as harness:
        keys = lambda: [k.partition(":")[0] for k, _ in sorted(records(harness.engine, ""))]  # noqa: E731
        task.delay(True)
        assert keys() == ["live"]
        harness.run_until_idle()
        assert keys() == ["failed"]
        task.delay(False)
        harness.run_until_idle()
        assert keys() == ["done", "failed"]


def test_the_context_has_what_a_hook_needs():
    seen = {}

    class Looking(Middleware):
        options = frozenset({"look"})

        def prerun(self, ctx):
            ctx.state["looking"] = 1
            seen.update(
                id=ctx.id, args=ctx.args, kwargs=ctx.kwargs, attempt=ctx.attempt, retries=ctx.retries,
                options=dict(ctx.options), queue=ctx.queue, store=ctx.store is ctx.app.broker, task=ctx.task.name,
                fence=ctx.fence > 0, key=ctx.idempotency_key == ctx.id, current=current() is ctx,
            )  # fmt: skip

        def settling(self, ctx, verdict):
            seen["state"] = dict(ctx.state)

    app = Reliq("shop", broker="memory://", middleware=[Looking()])
    task = app.task(name="t", look="up")(lambda a, b: None)
    with Harness(app) as harness:
        handle = task.delay(1, b=2)
        harness.run_until_idle()
    assert seen == {
        "id": handle.id, "args": (1,), "kwargs": {"b": 2}, "attempt": 1, "retries": 0, "options": {"look": "up"},
        "queue": "default", "store": True, "task": "t", "fence": True, "key": True, "current": True,
        "state": {"looking": 1},
    }  # fmt: skip


# --- async ---


def test_hooks_of_async_tasks_never_stand_on_the_loop():
    class Blocking(Middleware):
        def prerun(self, ctx):
            with pytest.raises(RuntimeError, match="no running event loop"):
                asyncio.get_running_loop()

        def settling(self, ctx, verdict):
            self.prerun(ctx)

        def postrun(self, ctx, value):
            self.prerun(ctx)

    assert run([Blocking()], is_async=True)[1].state == "done"


def test_a_cancel_while_a_hook_runs_waits_for_the_hook_and_is_heard_then():
    ran = []

    class Slow(Middleware):
        def prerun(self, ctx):
            loop.call_soon_threadsafe(run_task.cancel)
            loop.call_soon_threadsafe(run_task.cancel)
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result()
            ran.append("prerun")

        def failure(self, ctx, error):
            ran.append(type(error).__name__)

    app = Reliq("shop", broker="memory://", middleware=[Slow()])

    @app.task(name="t")
    async def work() -> None:
        ran.append("task")

    async def main():
        nonlocal loop, run_task
        loop = asyncio.get_running_loop()
        run_task = asyncio.ensure_future(harness.runner.arun(job))
        return await run_task

    loop = run_task = None
    with Harness(app) as harness:
        work.delay()
        job = harness.runner.open(harness.claim().deliveries[0])
        settlement = asyncio.run(main())
    assert (settlement.kind, settlement.reason) == ("dropped", "cancelled")
    assert ran == ["prerun", "TaskCancelled"]


# --- the chain ---


def test_hooks_that_are_not_overridden_cost_nothing():
    app = Reliq("shop", broker="memory://", middleware=[Middleware(), Observer()])
    chain = app.task(name="t")(lambda: None).chain
    hooks = (
        chain.publish,
        chain.prerun,
        chain.around,
        chain.postrun,
        chain.failure,
        *chain.settling.values(),
        chain.settled,
    )
    assert hooks == ((),) * 12 and len(chain.middleware) == 2 and chain.ends_alone == (True, True)


def test_what_a_base_brings_stands_innermost_and_the_app_s_of_that_name_serves_instead():
    notes: list[str] = []

    class Based(Task):
        middleware = (Recorder("base", notes),)

    app = Reliq("shop", broker="memory://", middleware=[Recorder("a", notes)])
    assert app.task(base=Based, name="t")(lambda: None).chain.names == ("a", "base")
    assert app.task(name="u")(lambda: None).chain.names == ("a",)
    mine = Recorder("base", notes)
    app = Reliq("shop", broker="memory://", middleware=[mine, Recorder("a", notes)])
    chain = app.task(base=Based, name="t")(lambda: None).chain
    assert chain.names == ("base", "a") and chain.middleware[0] is mine


def test_a_chain_in_the_wrong_order_is_refused_at_start():
    class Inner(Middleware):
        requires_outer = ("outer",)

    class Outer(Middleware):
        pass

    for middleware, right in (([Inner()], True), ([Outer(), Inner()], True), ([Inner(), Outer()], False)):
        task = Reliq("shop", broker="memory://", middleware=middleware).task(name="t")(lambda: None)
        if right:
            assert task.chain
        else:
            with pytest.raises(OptionError, match="'inner' must stand inside 'outer': put 'outer' before it"):
                _ = task.chain


def test_two_middleware_of_one_name_are_refused():
    task = Reliq("shop", broker="memory://", middleware=[Setting(), Setting()]).task(name="t")(lambda: None)
    with pytest.raises(OptionError, match="Two middleware are called 'setting'"):
        _ = task.chain


@pytest.mark.parametrize(
    ("attribute", "words", "said"),
    [
        ("settled_on", {"refused"}, "has 'refused'; there are applied, repeated and stale"),
        ("settled_on", "stale", "is 'stale'; it is None, or a set of words: there are applied"),
        ("settled_on", frozenset({"stale", "due"}), "has 'due'; there are"),
        (
            "settling_on",
            {"drop", "done"},
            "has 'drop'; there are done, retry, snooze, dropped, failed and result",
        ),
        ("settling_on", ("done",), r"is \('done',\); it is None, or a set of words"),
    ],
)
def test_a_word_that_no_hook_hears_is_refused_where_its_class_is_made(attribute, words, said):
    with pytest.raises(HookError, match=rf"^Deaf\.{attribute} {said}"):
        type("Deaf", (Middleware,), {attribute: words})
    type("Hears", (Middleware,), {attribute: None})
    type("Hears", (Middleware,), {"settled_on": {"stale"}, "settling_on": frozenset({"result", "failed"})})


@pytest.mark.parametrize("hook", ["publish", "prerun", "around", "settled", "bind", "startup"])
def test_an_async_hook_is_refused_where_its_class_is_made(hook):
    async def wrong(self, *args): ...

    with pytest.raises(HookError, match=f"Wrong.{hook} is `async def`; hooks are plain functions"):
        type("Wrong", (Middleware,), {hook: wrong})


def test_an_async_generator_is_refused_too():
    async def wrong(self, ctx):
        yield

    with pytest.raises(HookError, match="async def"):
        type("Wrong", (Middleware,), {"around": wrong})


@pytest.mark.parametrize(
    ("near", "hook"),
    [
        ("post_run", "postrun"),
        ("pre_run", "prerun"),
        ("on_failure", "failure"),
        ("settle", "settled"),
        ("arround", "around"),
    ],
)
def test_a_near_miss_of_a_hook_s_name_is_refused_with_the_right_one(near, hook):
    with pytest.raises(HookError, match=f"Wrong.{near} is not a hook: did you mean `{hook}`"):
        type("Wrong", (Middleware,), {near: lambda self, ctx: None})


def test_methods_of_a_middleware_s_own_are_its_own_business():
    class Fine(Middleware):
        def report(self) -> None: ...

        def _prerun(self) -> None: ...

    assert Fine.name == "fine"


def test_drive_runs_one_message_through_a_middleware():
    notes: list[str] = []
    driven = drive(Recorder("a", notes), boom, retry_on=ValueError, max_retries=2)
    assert (driven.runs, driven.record.state, driven.handle.state) == (3, "failed", "FAILURE")
    rejected = drive(type("No", (Middleware,), {"publish": lambda self, ctx: Drop("no")})(), boom)
    assert (rejected.runs, rejected.record, rejected.handle.state) == (0, None, "REJECTED")
