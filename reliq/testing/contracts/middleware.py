"""What any middleware must keep, as tests to inherit from.

    class TestMine(MiddlewareContract):
        @pytest.fixture
        def middleware(self): return Mine()

It runs inside the real runtime; no process, no sleep.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from reliq.app import Reliq
from reliq.errors import BrokerUnavailable, GuardRefused, PublishRefused, PublishUnknown, TaskFailed
from reliq.middleware import HOOKS, Middleware, Observer, hook_of
from reliq.plugins import open_engine
from reliq.policy.clock import VirtualClock
from reliq.ports import records
from reliq.ports.values import ENDED
from reliq.results import Handle
from reliq.tasks import Task
from reliq.testing.harness import Harness
from reliq.verdicts import Drop, Snooze, Verdict
from reliq.wire.message import Add

PATIENCE = 7200.0  # seconds for which the app's messages are put off
_RUN_HOOKS = tuple(hook for hook in HOOKS if hook != "publish")


class MiddlewareContract:
    """Override `middleware`; `options`, `keeps` and `engine` where the middleware needs it."""

    options: dict[str, Any] = {}  # noqa: RUF012  task options under which the middleware does its work
    keeps: tuple[
        str, ...
    ] = ()  # prefixes of store keys that are meant to outlive a message (each with a ttl)

    @pytest.fixture
    def middleware(self) -> Middleware:
        """A fresh instance for one test."""
        raise NotImplementedError(f"{type(self).__name__} must have a fixture `middleware`")

    @pytest.fixture
    def clock(self) -> VirtualClock:
        return VirtualClock()

    @pytest.fixture
    def engine(self, clock: VirtualClock) -> Iterator[Any]:
        """An empty engine on `clock` for one test."""
        engine = open_engine("memory://", app="contract", clock=clock)
        yield engine
        engine.close()

    @pytest.fixture
    def bench(self, middleware: Middleware, engine: Any, clock: VirtualClock) -> Iterator[Bench]:
        # Not the default day: what waits for its task or its store looks for it each minute, by hundreds of runs.
        app = Reliq(
            "contract",
            broker="memory://",
            middleware=[_Watch(), middleware],
            park_for=PATIENCE,
            max_snooze=PATIENCE,
        )
        with Harness(app, clock=clock, engine=engine) as harness:
            yield Bench(app, harness, middleware, self.options, self.keeps)

    # --- what it is ---

    def test_it_has_a_name_and_says_which_options_it_owns(self, middleware: Middleware) -> None:
        assert middleware.name
        assert isinstance(middleware.options, frozenset)
        assert isinstance(middleware.requires_outer, tuple)

    # --- a task that has nothing to do with it ---

    @pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
    def test_a_plain_task_ends_as_it_would_without_it(self, bench: Bench, is_async: bool) -> None:
        work = bench.task(is_async=is_async)
        done, failed, dropped = work.delay(1, "done"), work.delay(2, "fail"), work.delay(3, "drop")
        bench.harness.run_until_idle(advance=True)
        assert done.get(0) == [1, "done"]
        error = failed.get(0, propagate=False)
        assert isinstance(error, TaskFailed)
        assert (error.kind, error.message) == ("ValueError", "fail")
        assert (dropped.state, bench.record(dropped).reason) == ("IGNORED", "drop")

    def test_retries_and_snoozes_count_as_they_would_without_it(self, bench: Bench) -> None:
        work = bench.task()
        retried, snoozed = work.delay(1, "retry"), work.delay(2, "snooze")
        bench.harness.run_until_idle(advance=True)
        record = bench.record(retried)
        assert (record.state, record.attempt, record.retries) == ("failed", 3, 2)
        record = bench.record(snoozed)
        assert (record.state, record.attempt, record.snoozes) == ("done", 1, 1)

    def test_each_call_of_a_batch_has_an_outcome_of_its_own(self, bench: Bench) -> None:
        outcomes = bench.app.publish_many(bench.task(), [(1, "done"), (2, "done"), (3, object())])
        assert [isinstance(outcome, Handle) for outcome in outcomes] == [True, True, False]
        assert bench.harness.run_until_idle(advance=True) == 2

    # --- one settlement ---

    def test_a_settlement_that_is_sent_twice_changes_nothing_the_second_time(self, bench: Bench) -> None:
        bench.task().delay(1, "done")
        settlement = bench.harness.settle(bench.harness.claim().deliveries[0])
        before = bench.everything()
        assert [a.status for a in bench.harness.engine.settle([settlement])] == ["repeated"]
        assert bench.everything() == before

    def test_a_stale_settlement_changes_nothing(self, bench: Bench) -> None:
        handle = bench.task().delay(1, "done")
        delivery = bench.harness.claim().deliveries[0]
        bench.harness.engine.bury(delivery.receipt.owner, started=[delivery.receipt])
        before = bench.everything()
        bench.harness.settle(delivery)
        assert bench.everything() == before
        assert bench.record(handle).state == "due"

    def test_every_verdict_pickles(self, bench: Bench) -> None:
        work = bench.task()
        for number, how in enumerate(("done", "fail", "drop", "retry", "snooze")):
            work.delay(number, how)
        bench.harness.run_until_idle(advance=True)
        assert bench.verdicts
        for verdict in bench.verdicts:
            assert pickle.loads(pickle.dumps(verdict)) == verdict

    # --- what it leaves behind ---

    @pytest.mark.parametrize("ending", ["done", "fail", "drop", "retry", "snooze"])
    def test_a_message_that_ran_to_its_end_leaves_nothing(self, bench: Bench, ending: str) -> None:
        handle = bench.task().delay(1, ending)
        bench.harness.run_until_idle(advance=True)
        assert bench.record(handle).state in ENDED
        assert bench.left() == []

    @pytest.mark.parametrize("ending", ["cancel", "expire", "purge", "quarantine", "damage"])
    def test_a_message_that_the_broker_ended_leaves_nothing(self, bench: Bench, ending: str) -> None:
        handle = bench.task().apply_async((1, "done"), expires=60)
        _ENDINGS[ending](bench, handle)
        assert bench.record(handle).state in ENDED
        assert bench.left() == []

    def test_a_message_for_a_task_that_is_gone_leaves_nothing(self, bench: Bench) -> None:
        work = bench.task()
        handle = work.delay(1, "done")
        bench.forget_task(work)
        bench.harness.run_until_idle(advance=True)
        assert bench.record(handle).state == "failed"
        assert bench.left() == []

    def test_a_publish_that_another_guard_refused_leaves_nothing(self, bench: Bench) -> None:
        bench.harness.engine.store_put(_Refusing.key, b"", holder=None)
        work = bench.task(base=_Refused)
        with pytest.raises(GuardRefused) as caught:
            work.delay(1, "done")
        assert caught.value.guard.key == _Refusing.key
        bench.harness.engine.store_drop(_Refusing.key)
        assert bench.left() == []

    # --- faults ---

    @pytest.mark.parametrize("certain", [True, False])
    def test_an_outage_of_the_broker_reaches_the_caller(self, bench: Bench, certain: bool) -> None:
        work = bench.task()
        bench.without(("publish",), certain=certain)
        with pytest.raises(PublishRefused if certain else PublishUnknown):
            work.delay(1, "done")

    @pytest.mark.parametrize("how", ["done", "fail", "retry"])
    def test_a_message_is_not_lost_while_the_store_is_away(self, bench: Bench, how: str) -> None:
        handle = bench.task().delay(1, how)
        bench.without(tuple(name for name in dir(bench.harness.engine) if name.startswith("store_")))
        bench.harness.run_until_idle(advance=True)
        assert bench.record(handle).state in ENDED

    @pytest.mark.parametrize("hook", _RUN_HOOKS)
    @pytest.mark.parametrize("how", ["done", "fail", "retry"])
    def test_a_message_is_not_lost_when_a_hook_breaks(self, bench: Bench, hook: str, how: str) -> None:
        if hook_of(bench.middleware, hook) is None:
            return  # what it does not have cannot break
        setattr(bench.middleware, hook, _break)
        handle = bench.task().delay(1, how)
        bench.harness.run_until_idle(advance=True)
        assert bench.record(handle).state in ENDED
        assert bench.left() == []

    def test_a_publish_hook_that_breaks_publishes_nothing(self, bench: Bench) -> None:
        if hook_of(bench.middleware, "publish") is None or isinstance(bench.middleware, Observer):
            return  # what it does not have cannot break
        setattr(bench.middleware, "publish", _break)  # noqa: B010
        with pytest.raises(_Broken):
            bench.task().delay(1, "done")
        assert bench.harness.run_until_idle() == 0
        assert bench.left() == []


class Bench:
    """An app with the middleware, a task of many endings, and a look at what stays in the store."""

    def __init__(
        self,
        app: Reliq,
        harness: Harness,
        middleware: Middleware,
        options: dict[str, Any],
        keeps: tuple[str, ...],
    ) -> None:
        self.app = app
        self.harness = harness
        self.middleware = middleware
        self._options = options
        self._keeps = keeps

    @property
    def verdicts(self) -> list[Verdict]:
        """What was decided, in order."""
        watch = self.app.middleware[0]
        assert isinstance(watch, _Watch)
        return watch.verdicts

    def task(self, *, is_async: bool = False, **options: Any) -> Task[..., Any]:
        """`work(number, how)` with the middleware's options."""

        async def later(number: int, how: str) -> list[Any]:
            return _work(number, how)

        register: Callable[..., Any] = self.app.task(
            name="work", max_retries=2, retry_on=OSError, **{**self._options, **options}
        )
        task: Task[..., Any] = register(later if is_async else _work)
        return task

    def forget_task(self, task: Task[..., Any]) -> None:
        """As if the workers ran code without it."""
        self.app._own.pop(task.name)

    def record(self, handle: Handle[Any]) -> Any:
        record = self.harness.engine.get(handle.id)
        assert record is not None
        return record

    def everything(self) -> list[tuple[str, Any]]:
        """All live records of the store, but for what a `Tally` counts."""
        found = sorted(records(self.harness.engine, ""))
        return [(key, value) for key, value in found if not key.startswith("count:")]

    def left(self) -> list[str]:
        """Keys in the store that should not be there once all messages have ended."""
        return [
            key
            for key, value in self.everything()
            if not (key.startswith(self._keeps) if self._keeps else False) or value.expires is None
        ]

    def without(self, names: tuple[str, ...], *, certain: bool = False) -> None:
        """From now on these operations of the engine find no broker."""
        self.app.use_engine(_Away(self.harness.engine, names, certain), self.harness.clock)


def _work(number: int, how: str) -> list[Any]:
    from reliq.context import current

    if how == "fail":
        raise ValueError("fail")
    if how == "drop":
        raise Drop("drop")
    if how == "retry":
        raise OSError("retry")
    if how == "snooze" and not current().delivery.snoozes:
        raise Snooze(60)
    return [number, how]


class _Watch(Observer):
    """Outermost: notes every verdict."""

    name = "contract-watch"

    def __init__(self) -> None:
        self.verdicts: list[Verdict] = []

    def settling(self, ctx: Any, verdict: Verdict) -> None:
        assert isinstance(verdict, Verdict)
        self.verdicts.append(verdict)


class _Refusing(Middleware):
    """Innermost: a guard on a key that is taken."""

    name = "contract-refusing"
    key = "contract-refused"

    def publish(self, ctx: Any) -> None:
        ctx.with_publish(Add(self.key, holder=ctx.id))


class _Refused(Task[..., Any]):
    middleware = (_Refusing(),)


class _Broken(Exception):
    """The hook broke."""


def _break(*_: Any) -> Any:
    raise _Broken("on purpose")


class _Away:
    """An engine some of whose operations find no broker."""

    def __init__(self, engine: Any, names: tuple[str, ...], certain: bool) -> None:
        self._engine = engine
        self._names = names
        self._certain = certain

    def __getattr__(self, name: str) -> Any:
        if name not in self._names:
            return getattr(self._engine, name)

        def away(*_: Any, **__: Any) -> Any:
            raise BrokerUnavailable("away on purpose", certain=self._certain)

        return away


def _quarantine(bench: Bench, handle: Handle[Any]) -> None:
    for _ in range(3):
        bench.harness.crash()
        bench.harness.clock.advance(10)


def _damage(bench: Bench, handle: Handle[Any]) -> None:
    delivery = bench.harness.claim().deliveries[0]
    bench.harness.settle(msgspec.structs.replace(delivery, payload=b"\xc1"))


def _expire(bench: Bench, handle: Handle[Any]) -> None:
    bench.harness.clock.advance(61)
    bench.harness.engine.reap()


_ENDINGS: dict[str, Callable[[Bench, Handle[Any]], object]] = {
    "cancel": lambda bench, handle: handle.cancel(),
    "expire": _expire,
    "purge": lambda bench, handle: bench.harness.engine.purge("default"),
    "quarantine": _quarantine,
    "damage": _damage,
}
