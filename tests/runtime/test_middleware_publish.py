"""The publish side of middleware: generators and plain hooks, refusals, outages, batches."""

from __future__ import annotations

import contextlib
import sys

import pytest

from reliq import Drop, Fail, Join, Middleware, Observer, Reliq, current
from reliq.errors import (
    ArityError,
    BrokerFull,
    BrokerUnavailable,
    GuardRefused,
    HookError,
    HookSwallowed,
    OptionError,
    PublishRefused,
    PublishUnknown,
)
from reliq.ports import Add, Put, Record, Remove, records
from reliq.testing import Harness


class Hearing(Middleware):
    """Notes what each publish came to."""

    def __init__(self, name: str = "hearing") -> None:
        self.name = name
        self.heard: list[object] = []

    def publish(self, ctx):
        try:
            published = yield
        except Exception as error:
            self.heard.append(error)
            raise
        self.heard.append(published)


def hook(function, base=Middleware, name="hook"):
    return type("Hook", (base,), {"publish": function, "name": name})()


def shop(*middleware, **options):
    app = Reliq("shop", broker="memory://", middleware=list(middleware))
    return app, app.task(name="work", **options)(lambda *args: None)


def statuses(hearing):
    return [getattr(h, "status", type(h).__name__) for h in hearing.heard]


# --- before the yield ---


def test_a_hook_hears_whether_the_message_was_accepted_or_known():
    hearing = Hearing()
    app, task = shop(hearing)
    with Harness(app):
        first = task.apply_async(task_id="one")
        task.apply_async(task_id="one")
    assert statuses(hearing) == ["accepted", "duplicate"] and hearing.heard[0].id == first.id


def test_a_plain_function_is_a_hook_before_the_publish_only():
    def publish(self, ctx):
        ctx.headers["by"] = "plain"

    app, task = shop(hook(publish))
    with Harness(app) as harness:
        task.delay()
        assert harness.runner.open(harness.claim().deliveries[0]).ctx.headers["by"] == "plain"


def as_generator(answer):
    def publish(self, ctx):
        return answer
        yield

    return publish


def as_function(answer):
    return lambda self, ctx: answer


def as_raised(answer):
    def publish(self, ctx):
        raise answer
        yield

    return publish


@pytest.mark.parametrize("form", [as_generator, as_function, as_raised])
def test_a_drop_rejects_and_only_the_outer_hooks_hear_of_it(form):
    outer, inner = Hearing("outer"), Hearing("inner")
    app, task = shop(outer, hook(form(Drop("closed"))), inner)
    with Harness(app) as harness:
        handle = task.delay()
        assert (handle.state, handle.reason) == ("REJECTED", "closed")
        assert harness.run_until_idle() == 0
    assert statuses(outer) == ["refused"] and inner.heard == []


@pytest.mark.parametrize("form", [as_generator, as_function])
def test_a_join_gives_the_handle_of_the_message_that_is_there(form):
    app, task = shop(hook(form(Join("existing"))))
    with Harness(app) as harness:
        assert task.delay().id == "existing" and harness.run_until_idle() == 0


def never_yields(self, ctx):
    return
    yield


def yields_twice(self, ctx):
    yield
    yield


def test_a_join_with_a_record_tells_how_that_message_ended_and_asks_no_broker():
    ended = Record("existing", "work", "default", "done", value=b"[0]")
    app, task = shop(hook(lambda self, ctx: Join("existing", record=ended)))
    with Harness(app) as harness:
        handle = task.delay()
        assert (handle.id, handle.state, handle.get(0), handle.record()) == (
            "existing",
            "SUCCESS",
            [0],
            ended,
        )
        assert handle.wait() is ended and handle.result == [0]
        assert "existing" in handle.why() and harness.engine.get("existing") is None


@pytest.mark.parametrize(
    ("publish", "said"),
    [
        (never_yields, "hook.publish ended without a yield or a Drop/Join"),
        (as_generator(Fail("x")), "gave Fail"),
        (as_function("no"), "hook.publish gave 'no'; it gives Drop, Join or None"),
    ],
)
def test_a_hook_that_breaks_its_contract_before_the_publish_stops_it(publish, said):
    outer = Hearing()
    app, task = shop(outer, hook(publish))
    with Harness(app) as harness:
        with pytest.raises(HookError, match=said):
            task.delay()
        assert harness.run_until_idle() == 0
    assert statuses(outer) == ["HookError"]


def test_an_error_of_an_inner_hook_is_seen_by_the_outer_ones_and_stops_the_publish():
    def broken(self, ctx):
        raise OSError("no lock to be had")

    outer, inner = Hearing("outer"), Hearing("inner")
    app, task = shop(outer, hook(broken), inner)
    with Harness(app) as harness:
        with pytest.raises(OSError, match="no lock"):
            task.delay()
        assert harness.run_until_idle() == 0
    assert statuses(outer) == ["OSError"] and inner.heard == []


def test_arguments_that_cannot_be_sent_are_thrown_into_the_hooks():
    hearing = Hearing()
    app = Reliq("shop", broker="memory://", middleware=[hearing])
    task = app.task(name="one")(lambda a: None)
    with Harness(app), pytest.raises(ArityError):
        task.delay()
    assert statuses(hearing) == ["ArityError"]


@pytest.mark.parametrize("headers", [{"a": 1}, {"a": "\udc80"}])
def test_a_header_that_cannot_travel_is_told_as_the_hook_s_fault(headers):
    app, task = shop(hook(lambda self, ctx: ctx.headers.update(headers)))
    with Harness(app), pytest.raises(HookError, match="Headers map texts to texts"):
        task.delay()


def test_what_was_published_cannot_be_written_over_by_a_hook():
    for name in ("id", "args", "kwargs"):
        app, task = shop(hook(lambda self, ctx, name=name: setattr(ctx, name, "x")))
        with Harness(app), pytest.raises(AttributeError):
            task.delay()


# --- after the yield ---


def guarded(key, then=None):
    def publish(self, ctx):
        ctx.with_publish(Add(key, holder=ctx.id))
        ctx.with_publish(Put(f"{key}-count"))
        try:
            yield
        except GuardRefused as refused:
            if refused.guard.key != key or then is None:
                raise
            return then(refused)

    return hook(publish, name=key)


def test_a_refused_guard_is_thrown_in_and_nothing_is_written():
    app, task = shop(guarded("a"), guarded("b"))
    with Harness(app) as harness:
        first = task.delay()
        harness.engine.store_drop("a")
        harness.engine.store_drop("a-count")
        with pytest.raises(GuardRefused) as caught:
            task.delay()
        assert caught.value.guard.key == "b" and caught.value.found.value.holder == first.id
        assert [k for k, _ in sorted(records(harness.engine, ""))] == ["b", "b-count"]


@pytest.mark.parametrize("mine", ["a", "b"])
def test_the_middleware_whose_guard_it_was_answers_and_the_others_see_it_pass(mine):
    def answer(refused):
        return Drop(f"taken by {refused.found.value.holder}")

    outer, inner = Hearing("outer"), Hearing("inner")
    app, task = shop(outer, guarded("a", answer), guarded("b", answer), inner)
    with Harness(app) as harness:
        first = task.delay()
        harness.engine.store_drop("b" if mine == "a" else "a")
        handle = task.delay()
        assert (handle.state, handle.reason) == ("REJECTED", f"taken by {first.id}")
    assert statuses(inner) == ["accepted", "GuardRefused"] and statuses(outer) == ["accepted", "refused"]


def test_a_refusal_can_join_the_caller_to_the_message_that_is_there():
    app, task = shop(guarded("a", lambda refused: Join(refused.found.value.holder)))
    with Harness(app) as harness:
        first = task.delay()
        assert task.delay() == first
        assert harness.run_until_idle() == 1


def test_a_hook_that_swallows_a_refusal_is_told():
    def publish(self, ctx):
        with contextlib.suppress(GuardRefused):
            yield

    app, task = shop(hook(publish), guarded("a"))
    with Harness(app):
        task.delay()
        with pytest.raises(HookSwallowed, match="swallowed a GuardRefused"):
            task.delay()


def test_a_hook_may_raise_an_error_of_its_own_for_a_refusal():
    def publish(self, ctx):
        try:
            yield
        except GuardRefused as error:
            raise LookupError("mine") from error

    outer = Hearing()
    app, task = shop(outer, hook(publish), guarded("a"))
    with Harness(app):
        task.delay()
        with pytest.raises(LookupError, match="mine"):
            task.delay()
    assert statuses(outer) == ["accepted", "LookupError"]


@pytest.mark.parametrize("late", [OSError("late"), Drop("late")])
def test_what_breaks_after_the_message_was_accepted_cannot_unsay_it(late, caplog):
    def raising(self, ctx):
        yield
        raise late

    def returning(self, ctx):
        yield
        return Drop("late")

    outer = Hearing()
    app, task = shop(outer, hook(raising, name="x"), hook(returning, name="y"), hook(yields_twice, name="z"))
    with Harness(app) as harness:
        assert task.delay().state == "PENDING"
        assert harness.run_until_idle() == 1
    assert statuses(outer) == ["accepted"]
    for name in "xyz":
        assert f"middleware '{name}'" in caplog.text


def test_nonsense_after_a_refusal_does_not_cut_off_the_outer_hooks_or_other_messages():
    outer = Hearing()
    app, task = shop(outer, guarded("a", lambda refused: "nonsense"))
    with Harness(app):
        task.delay()
        results = app.publish_many(task, [(1,), (2,)])
    assert [type(r) for r in results] == [HookError, HookError]
    assert statuses(outer) == ["accepted", "HookError", "HookError"]


# --- observers ---


@pytest.mark.parametrize(
    "publish",
    [
        as_function(Drop("no")),
        as_generator(Drop("no")),
        as_raised(Drop("no")),
        as_raised(OSError("x")),
        never_yields,
        yields_twice,
        as_function("nonsense"),
    ],
)
def test_an_observer_decides_nothing_about_a_publish(publish):
    hearing = Hearing()
    app, task = shop(hearing, hook(publish, Observer, "o"), guarded("a"))
    with Harness(app) as harness:
        task.delay()
        with pytest.raises(GuardRefused):
            task.delay()
        assert harness.run_until_idle() == 1
    assert statuses(hearing) == ["accepted", "GuardRefused"]


def test_an_observer_s_error_in_publish_is_logged_with_its_name(caplog):
    app, task = shop(hook(as_raised(OSError("x")), Observer, "watcher"))
    with Harness(app):
        task.delay()
    assert "observer 'watcher' failed in publish" in caplog.text


# --- outages ---


class Broken:
    """An engine whose publish fails."""

    def __init__(self, engine, error) -> None:
        self._engine = engine
        self._error = error

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def publish(self, publications):
        raise self._error


def certain():
    return BrokerUnavailable("refused", certain=True)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (lambda: BrokerUnavailable("no answer"), PublishUnknown),
        (certain, PublishRefused),
        (lambda: BrokerFull("disk"), PublishRefused),
    ],
)
@pytest.mark.parametrize("middleware", [True, False], ids=["hooks", "plain"])
def test_an_outage_says_what_is_certain_and_hooks_hear_it(error, kind, middleware):
    hearing = Hearing()
    app, task = shop(*([hearing] if middleware else []))
    with Harness(app) as harness:
        harness.app.use_engine(Broken(harness.engine, error()), harness.clock)
        with pytest.raises(kind) as caught:
            task.apply_async(task_id="mine")
        if kind is PublishUnknown:
            assert caught.value.id == "mine" and "task_id='mine'" in str(caught.value)
        with pytest.raises(kind):
            app.publish_many(task, [(1,), (2,)])
    assert statuses(hearing) == [kind.__name__] * (3 if middleware else 0)


def test_in_an_outage_each_message_of_a_batch_hears_of_its_own_id():
    ids = []

    class Ids(Middleware):
        def publish(self, ctx):
            try:
                yield
            except PublishUnknown as error:
                ids.append((error.id, ctx.id))
                raise

    app, task = shop(Ids())
    with Harness(app) as harness:
        app.use_engine(Broken(harness.engine, BrokerUnavailable("x")), harness.clock)
        with pytest.raises(PublishUnknown) as caught:
            app.publish_many(task, [(1,), (2,), (3,)])
    assert len(set(ids)) == 3 and all(told == own for told, own in ids)
    assert caught.value.ids == tuple(own for _, own in ids)


def test_a_hook_can_make_something_else_of_an_outage():
    def publish(self, ctx):
        try:
            yield
        except PublishRefused:
            return Drop("kept for later")

    app, task = shop(hook(publish))
    with Harness(app) as harness:
        app.use_engine(Broken(harness.engine, BrokerFull("x")), harness.clock)
        assert [h.state for h in app.publish_many(task, [(1,), (2,)])] == ["REJECTED", "REJECTED"]


def test_an_interrupt_is_thrown_into_every_hook_that_waits():
    left = []

    def publish(self, ctx):
        try:
            yield
        except BaseException as error:
            left.append(type(error).__name__)
            raise

    app, task = shop(hook(publish))
    with Harness(app) as harness:
        app.use_engine(Broken(harness.engine, KeyboardInterrupt()), harness.clock)
        with pytest.raises(KeyboardInterrupt):
            app.publish_many(task, [(1,), (2,)])
    assert left == ["KeyboardInterrupt"] * 2


# --- batches ---


def test_a_batch_is_one_call_of_the_broker_with_one_generator_for_each_message():
    calls, hearing = [], Hearing()
    app, task = shop(hearing, guarded("a", lambda refused: Drop("second")))
    with Harness(app) as harness:
        engine = Broken(harness.engine, None)
        engine.publish = lambda publications: (
            calls.append(len(publications)) or harness.engine.publish(publications)
        )
        app.use_engine(engine, harness.clock)
        handles = app.publish_many(task, [(1,), (2,), (3,)])
    assert calls == [3]
    assert [h.state for h in handles[1:]] == ["REJECTED", "REJECTED"] and handles[0].id
    assert statuses(hearing) == ["accepted", "refused", "refused"]


# --- options and loading ---


class Budget(Middleware):
    name = "budget"
    options = frozenset({"cost"})
    seen: list[object] = []  # noqa: RUF012

    def __init__(self, limit: int = 10) -> None:
        self.limit = limit

    def check_options(self, task, options) -> None:
        if not isinstance(options.get("cost", 0), int):
            raise OptionError(f"{task.name}: cost is a whole number")

    def publish(self, ctx) -> None:
        self.seen.append(ctx.options.get("cost"))


def test_an_option_of_a_middleware_is_checked_at_the_task_and_at_the_call():
    Budget.seen.clear()
    app, task = shop(Budget(), cost=3)
    with Harness(app):
        task.delay()
        task.apply_async(cost=5)
        with pytest.raises(OptionError, match="cost is a whole number"):
            task.apply_async(cost="5")
        with pytest.raises(OptionError, match="has no option 'cots'; did you mean 'cost'"):
            task.apply_async(cots=5)
    assert Budget.seen == [3, 5]
    with pytest.raises(OptionError, match="has no option 'cots'; did you mean 'cost'"):
        app.task(name="other", cots=3)(lambda: None)
    with pytest.raises(OptionError, match="has no option 'cost'"):
        shop(cost=3)


@pytest.mark.parametrize(
    ("spec", "limit"),
    [
        (Budget(4), 4),
        (f"{__name__}.Budget", 10),
        (f"{__name__}:Budget", 10),
        ({"use": f"{__name__}.Budget", "limit": 7}, 7),
    ],
)
def test_middleware_is_an_instance_a_path_or_a_table(spec, limit, monkeypatch):
    monkeypatch.setitem(sys.modules, __name__, type("Module", (), {"Budget": Budget}))
    app, _ = shop(spec)
    assert app.middleware[0].limit == limit


def test_an_entry_point_is_a_name_without_a_dot():
    _, task = shop("once")
    assert task.chain.names == ("once",)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("idempotencyy", "Middleware 'idempotencyy' is not installed; there are .*once"),
        ("sentry", "Middleware 'sentry' is not part of this version; there are .*once"),
        ("no.such.Thing", "there is no module 'no.such'"),
        ("reliq.Nothing", "module 'reliq' has no 'Nothing'"),
        ("reliq.Reliq", "does not take these options|is no middleware"),
        ({"use": "once", "colour": 1}, "'once' does not take these options"),
    ],
)
def test_middleware_that_cannot_be_had_is_told_with_what_there_is(spec, said):
    with pytest.raises(Exception, match=said):
        shop(spec)


# --- what hooks add ---


@pytest.mark.parametrize(
    "add",
    [
        lambda ctx: ctx.with_publish("key"),
        lambda ctx: ctx.with_publish(Put("")),
        lambda ctx: ctx.with_publish(Put("x" * 513)),
        lambda ctx: ctx.with_publish(Add("\udc80")),
        lambda ctx: ctx.on_end("success", Put("x")),
        lambda ctx: ctx.on_end("any", Add("x")),
        lambda ctx: ctx.on_end("any", Remove("x", holder="")),
    ],
)
def test_what_a_broker_could_not_apply_is_refused_where_it_is_added(add):
    app, task = shop(hook(lambda self, ctx: add(ctx)))
    with Harness(app) as harness:
        with pytest.raises(HookError):
            task.delay()
        assert harness.run_until_idle() == 0


def test_a_task_that_adds_nonsense_to_its_settlement_fails_alone():
    app = Reliq("shop", broker="memory://")
    bad = app.task(name="bad")(lambda: current().with_settlement("nonsense"))
    good = app.task(name="good")(lambda: current().with_settlement(Put("x")))
    with Harness(app) as harness:
        handles = [bad.delay(), good.delay()]
        harness.run_until_idle()
        assert [h.state for h in handles] == ["FAILURE", "SUCCESS"]
        assert "with_settlement takes effects and follow-ups, got 'nonsense'" in handles[0].record().reason
