"""The record of a key: written with the publish, completed with the settlement, freed or kept by every ending."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Mapping
from functools import partial
from typing import Any, Unpack
from weakref import WeakKeyDictionary

from reliq import (
    Done,
    Drop,
    Fail,
    Join,
    Middleware,
    Outcome,
    PublishContext,
    Reliq,
    RunContext,
    Tally,
    Task,
    Verdict,
)
from reliq.errors import BrokerError, BrokerUnavailable, GuardRefused, OptionError, PublishRefused
from reliq.ports import Published
from reliq_idempotency import chosen, completion, doctor, duplicates, running
from reliq_idempotency.options import Given, Idempotent
from reliq_idempotency.plan import HEADER, KEY_HEADER, PREFIX

_KEY = "idempotency_key"
COUNTS = ("joins", "replays", "conflicts", "mismatches", "stale_completions")


class Idempotency(Middleware):
    """A second send of the same call gives the first one's result.

    The arguments are the options for all tasks of the app; see `Idempotent`.

    counters  what this process saw; `reliq idem counters` has the app's
        joins              second sends that were given the handle of a message that had not ended
        replays            second sends and runs that were given a stored result or failure
        conflicts          second sends that were refused, and runs that found another message unfinished
        mismatches         sends and runs whose key was used with other arguments
        stale_completions  runs that ended after their message was taken from them; their result was refused
    """

    name = "idempotency"
    options = frozenset({"idempotency", _KEY})
    settling_on = frozenset({"result", "failed"})
    settled_on = frozenset({"stale"})

    def __init__(self, **options: Unpack[Given]) -> None:
        self.defaults = Idempotent().over(options, where="Idempotency(...)")
        self.tally = Tally("idem", COUNTS)
        self._app: Reliq | None = None
        self._of_task: WeakKeyDictionary[Task[..., Any], Idempotent | None] = WeakKeyDictionary()

    @property
    def counters(self) -> Counter[str]:
        return self.tally.here

    def bind(self, app: Reliq) -> None:
        self._app = app

    def shutdown(self, worker: Any) -> None:
        """Write what was counted in the last seconds."""
        self.tally.write(worker.app)

    def check_options(self, task: Task[..., Any], options: dict[str, Any]) -> None:
        """Refuse what cannot be used where the task is defined, or where it is called."""
        where = f"Task {task.name!r}"
        if _KEY in task.middleware_options:
            raise OptionError(
                f"{where}: idempotency_key is the key of one call, using(idempotency_key=...); the keys of all calls "
                'of a task are idempotency={"keys": [...]}'
            )
        if _KEY in options:
            chosen.check_key(options[_KEY], where=where)
        effective = chosen.options_for(self.defaults, task, options)
        if effective is not None and effective.named:
            chosen.check(effective, task)

    def checks(self) -> Iterable[str]:
        """What `reliq doctor` should tell."""
        return () if self._app is None else doctor.complaints(self._app, self)

    def key_of(
        self,
        task: Task[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        parent: str | None = None,
        **call: Any,
    ) -> str | None:
        """The key in the store that a call would have; None when it has no key.

        parent  the message that sends it, for `scope="parent"`
        call    `idempotency_key=` and `idempotency=`, as for `using`
        """
        options = chosen.options_for(self.defaults, task, call)
        if options is None:
            return None
        kwargs = kwargs or {}
        digest = chosen.digest_for(
            options,
            task,
            args,
            kwargs,
            lambda: task.compiled.bind(args, kwargs),
            parent=parent,
            **_given(call),
        )
        return None if digest is None else PREFIX + digest

    # --- publishing ---

    def publish(self, ctx: PublishContext) -> Generator[None, Published, Join | None]:
        """Take the key with the publish; what stands there already is joined or refused."""
        # A task may hand its headers on; its key is not this call's.
        if ctx.headers.pop(HEADER, None) is not None:
            ctx.headers.pop(KEY_HEADER, None)
        effective = self._effective(ctx)
        plan = None if effective is None else chosen.plan_for(effective, ctx, **_given(ctx.options))
        if effective is None or plan is None:
            yield
            return None
        _check_engine(ctx)
        accepted = plan.accepted(ctx.task.name, keep_result=ctx.keep_result)
        guard, effect = plan.take(accepted)
        ctx.with_publish(guard)
        ctx.with_publish(effect)
        ctx.on_replay(plan.retake(accepted))
        for verdict_class, effects in plan.endings(ctx.task.name, accepted, keep_result=ctx.keep_result):
            ctx.on_end(verdict_class, *effects)
        ctx.headers[KEY_HEADER] = plan.key.removeprefix(PREFIX)
        ctx.headers[HEADER] = plan.header()
        try:
            yield
        except GuardRefused as refused:
            if refused.guard != guard:
                raise
            raising = effective.on_duplicate == "raise"
            count = partial(self.tally.add, ctx.app)
            return duplicates.answer(ctx, plan, refused, raising=raising, count=count)
        return None

    def _effective(self, ctx: PublishContext) -> Idempotent | None:
        """What holds for this call; for those that say nothing of their own it is worked out once."""
        task, given = ctx.task, ctx.options.get("idempotency")
        if given is not None and given is not task.middleware_options.get("idempotency"):
            return chosen.options_for(self.defaults, task, ctx.options)
        try:
            return self._of_task[task]
        except KeyError:
            found = self._of_task[task] = chosen.options_for(self.defaults, task)
            return found

    # --- running ---

    def prerun(self, ctx: RunContext) -> Verdict | None:
        """Run only while no other message has the key; look at the store once."""
        if HEADER not in ctx.headers or running.is_certain(ctx):
            return None
        plan = running.note(ctx).plan
        if plan is None:
            return None
        try:
            return running.before(ctx, plan, partial(self.tally.settle, ctx))
        except BrokerUnavailable as error:
            return running.later(ctx, f"cannot see whether the key is free: {error}")

    def failure(self, ctx: RunContext, error: BaseException) -> None:
        """Remember the error: the settlement that follows may keep it."""
        if HEADER in ctx.headers:
            running.note(ctx).error = error

    def settling(self, ctx: RunContext, verdict: Verdict) -> None:
        """Complete the record in the step that settles the message, so only who still holds it completes it."""
        if HEADER not in ctx.headers:
            return
        assert isinstance(verdict, Done | Fail)  # `settling_on`
        found = running.note(ctx)
        if found.plan is None or found.joined:
            return
        effect = completion.effect(ctx, found.plan, verdict)
        if effect is not None:
            ctx.with_settlement(effect)

    def settled(self, ctx: RunContext | None, ending: Outcome) -> None:
        if ctx is None or ending.answer != "stale" or running.note(ctx).plan is None:
            return
        if isinstance(ending.verdict, Done | Fail | Drop):
            self.tally.add(ctx.app, "stale_completions")


def _check_engine(ctx: PublishContext) -> None:
    try:
        if ctx.app.is_engine:
            return
        name = ctx.app.broker.capabilities.name
    except BrokerError as error:
        raise PublishRefused(f"Nothing was published: {error}") from error
    raise OptionError(
        f"Task {ctx.task.name!r}: idempotency needs a broker that keeps records and messages in one step (an "
        f"engine, such as sqlite:///shop.db); {name} is none, so nothing was published"
    )


def _given(call: Mapping[str, Any]) -> dict[str, Any]:
    """The call's own key, where it has one; None is one, too: no key."""
    return {"given": call[_KEY]} if _KEY in call else {}
