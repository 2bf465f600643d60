"""One run of one delivery: from bytes to a settlement.

`open` decodes, `run` (or `arun` for an async task) executes the chain and the task and gives the settlement that the
broker is asked to apply; nothing here talks to the broker.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import CoroutineType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import msgspec

from reliq.context import RunContext, _current
from reliq.errors import SoftTimeLimitExceeded, TaskCancelled, UnencodableResult, WireError
from reliq.policy import decide, tenacious
from reliq.policy.chain import Arounds
from reliq.policy.decide import storable, text_of
from reliq.ports.values import Delivery, Settled, Settlement
from reliq.schedule.instants import countdown_ms, to_ms
from reliq.verdicts import Done, Drop, Fail, Retry, Snooze, Verdict
from reliq.wire.codec import HARD_MAX_MESSAGE, decode_received
from reliq.worker.faults import describe, own_frames
from reliq.worker.job import Job
from reliq.worker.telling import MAX_REASON, said, tell_settled

if TYPE_CHECKING:
    from reliq.app import Reliq
    from reliq.tasks import Task
    from reliq.wire.message import Ending, Envelope

P = ParamSpec("P")
R = TypeVar("R")
logger = logging.getLogger("reliq.task")

_encode_error = msgspec.msgpack.Encoder().encode
_NO_ARGUMENTS = b"[[],{}]"
PARK_INTERVAL = 60_000  # ms between two looks at a message whose task is not known here

Guard = Callable[["Job"], AbstractContextManager[None]]


class _Plan:
    """What all runs of a task have in common: each look at it would cost every run."""

    __slots__ = ("direct", "hard", "soft", "takes_nothing")

    def __init__(self, task: Task[..., Any]) -> None:
        options, conf = task.options, task.app.conf
        self.soft: float | None = options.soft_time_limit or conf.soft_time_limit
        self.hard: float | None = options.time_limit or conf.time_limit
        self.takes_nothing = not task.compiled.parameters
        self.direct = task.is_called_directly


class Runner:
    """Runs deliveries for one app; one per process, used by every slot.

    `guard(job)` wraps the user's code of a job with a soft limit: the worker's way to raise into it.
    `current` is the job whose user code runs in this process's main thread slot; signal handlers look at it.
    """

    def __init__(self, app: Reliq, *, guard: Guard | None = None, rng: random.Random | None = None) -> None:
        self.app = app
        self.guard = guard
        self.current: Job | None = None
        self._rng = rng or random.Random()
        self._tasks = app.tasks
        self._plans: dict[Task[..., Any], _Plan] = {}

    # --- opening ---

    def open(self, delivery: Delivery) -> Job | Settlement:
        """The job of a delivery; a settlement at once when it cannot be decoded or its task is not known here."""
        try:
            envelope = decode_received(delivery.payload)
        except WireError as error:
            logger.error(
                "message %s cannot be decoded and is quarantined as raw bytes: %s", delivery.receipt.id, error
            )
            return _failed(delivery, error, f"undecodable: {error}")
        task = self._tasks.get(envelope.task)
        if task is None:
            return self._park(delivery, envelope)
        try:
            plan = self._plans.get(task)
            if plan is None:
                plan = self._plans[task] = _Plan(task)
            if plan.takes_nothing and envelope.body == _NO_ARGUMENTS:
                call: tuple[tuple[Any, ...], dict[str, Any]] = (), {}
            else:
                call = task.compiled.decode(envelope.body)
        except Exception as error:  # also what the constructor of a user's class raises
            logger.error(
                "message %s has arguments that task %s cannot take: %s",
                envelope.id,
                envelope.task,
                text_of(error),
            )
            return _failed(delivery, error, f"arguments do not fit: {text_of(error)}")
        ctx = RunContext(self.app, task, delivery, envelope, *call)
        chain = task.chain
        soft, hard = envelope.soft_time_limit or plan.soft, envelope.time_limit or plan.hard
        if soft is not None and hard is None:
            hard = soft + 5.0
        return Job(
            delivery,
            envelope,
            task,
            chain,
            ctx,
            plan.direct,
            task.is_async,
            soft,
            hard,
            len(chain.middleware),
        )

    def _park(self, delivery: Delivery, envelope: Envelope) -> Settlement:
        unknown = self.app.unknown_task(envelope.task)
        age = self.app.clock.now_ms() - delivery.published
        left = int(self.app.conf.park_for * 1000) - age
        if left <= 0:
            return _failed(delivery, unknown, f"unknown task for {age / 3_600_000:.3g} h: {unknown}")
        logger.error(
            "message %s is parked: %s (it is looked at again every %d s and fails after %.3g h)",
            envelope.id,
            unknown,
            PARK_INTERVAL // 1000,
            self.app.conf.park_for / 3600,
        )
        after = min(PARK_INTERVAL, left)
        return Settlement(delivery.receipt, "snooze", reason=f"parked: {unknown}"[:MAX_REASON], after=after)

    # --- running ---

    def run(self, job: Job) -> Settlement:
        """Run a sync job in this thread; never raises."""
        chain = job.chain
        token = _current.set(job.ctx)
        try:
            if chain.prerun:
                early, job.entered = chain.enter(job.ctx)
                if early is not None:
                    return self._conclude(job, None, early, ran=False)
            value: Any = None
            error: BaseException | None = None
            began = time.perf_counter() if chain.settled_applied else None
            try:
                if chain.around:
                    value, error = self._around(job)
                else:
                    value = self._call(job)
            except BaseException as raised:
                error = raised
            if began is not None:
                job.duration = time.perf_counter() - began
            return self._conclude(job, value, error)
        finally:
            _current.reset(token)

    def _around(self, job: Job) -> tuple[Any, BaseException | None]:
        arounds = Arounds(job.ctx)
        value: Any = None
        error: BaseException | None = None
        try:
            arounds.enter(job.chain.around)
            value = self._call(job)
        except BaseException as raised:
            error = raised
        return value, arounds.leave(value, error)

    def _call(self, job: Job) -> Any:
        ctx, call = job.ctx, job.task.func if job.is_direct else job.task
        try:
            self.current = job
            if job.soft is not None and self.guard is not None:
                with self.guard(job):
                    return call(*ctx.args, **ctx.kwargs)
            return call(*ctx.args, **ctx.kwargs) if ctx.kwargs else call(*ctx.args)
        finally:
            self.current = None

    async def arun(self, job: Job) -> Settlement:
        """Run an async job in its own asyncio Task; `around` in it, all other hooks in a helper thread."""
        chain = job.chain
        token = _current.set(job.ctx)
        try:
            if chain.prerun:
                (early, job.entered), cancelled = await _aside(chain.enter, job.ctx)
                if early is None and cancelled:
                    early = TaskCancelled()
                if early is not None:
                    return (await _aside(self._conclude, job, None, early, False))[0]
            began = time.perf_counter()
            value, error = await self._acall(job)
            job.duration = time.perf_counter() - began
            if chain.postrun or chain.failure or any(chain.settling.values()):
                return (await _aside(self._conclude, job, value, error))[0]
            return self._conclude(job, value, error)
        finally:
            _current.reset(token)

    async def _acall(self, job: Job) -> tuple[Any, BaseException | None]:
        arounds = Arounds(job.ctx) if job.chain.around else None
        value: Any = None
        error: BaseException | None = None
        try:
            if arounds is not None:
                arounds.enter(job.chain.around)
            value = await self._limited(job)
        except asyncio.CancelledError as raised:
            error = raised
            here = asyncio.current_task()
            if (
                here is not None and here.cancelling()
            ):  # somebody cancelled the message, not the task a part of itself
                error = TaskCancelled()
        except BaseException as raised:
            error = raised
        if arounds is not None:
            error = arounds.leave(value, error)
        return value, error

    async def _limited(self, job: Job) -> Any:
        ctx, task = job.ctx, job.task
        if job.soft is None:
            return await task(*ctx.args, **ctx.kwargs)
        limit = asyncio.timeout(job.soft)
        try:
            async with limit:
                return await task(*ctx.args, **ctx.kwargs)
        except TimeoutError as error:
            if limit.expired():
                raise SoftTimeLimitExceeded(f"ran longer than {job.soft} s") from error
            raise

    # --- what follows ---

    def _conclude(self, job: Job, value: Any, error: BaseException | None, ran: bool = True) -> Settlement:
        """The settlement that follows from value or error; a failure where even that goes wrong."""
        try:
            if error is None and not isinstance(value, Verdict):
                chain = job.chain
                if chain.ends_alone[job.envelope.keep_result]:
                    return self._done(job, value)
                if not chain.postrun:
                    return self._settle(job, Done(value))
            return self._settle(job, self._bounded(job, self._verdict(job, value, error, ran)))
        except TaskCancelled:  # it came when the task had ended
            job.verdict = Drop("cancelled")
            return Settlement(job.delivery.receipt, "dropped", reason="cancelled")
        except BaseException as fault:
            logger.exception("message %s could not be concluded, so it fails", job.ctx.id)
            job.error, job.verdict = fault, Fail(f"could not be concluded: {text_of(fault)}"[:MAX_REASON])
            return _failed(job.delivery, fault, job.verdict.reason or "")

    def _verdict(self, job: Job, value: Any, error: BaseException | None, ran: bool) -> Verdict:
        """Through `postrun` or `failure` and the task's policy.

        A verdict of the task's own, or of a `prerun`, is the first one already: only Done goes on to `postrun`.
        """
        chain, ctx, entered = job.chain, job.ctx, job.entered
        if error is None and isinstance(value, Verdict):
            error = value
        done: Done | None = None
        if isinstance(error, Done):
            done, value, error = error, error.value, None
        if error is None:
            if not chain.postrun:
                return done or Done(value)
            verdict, error, entered = chain.returned(entered, ctx, value)
            if error is None:
                return verdict or done or Done(value)
        if isinstance(error, Verdict):
            if isinstance(error, Retry | Fail):
                job.error = _occasion(error)
            error.__traceback__ = None  # it would keep the frames of this run
            return error
        if isinstance(error, _ENDS_A_PROCESS):
            error = _as_error(error)
        error.__traceback__ = own_frames(error.__traceback__)
        job.error = error
        decided = chain.raised(entered, ctx, error) if chain.failure else None
        if decided is not None:
            return decided
        if isinstance(error, TaskCancelled):
            return Drop("cancelled")
        policy, retries = job.task.options.retry_with, job.delivery.retries
        if policy is not None and isinstance(error, Exception):
            return tenacious.on_error(policy, error, retries=retries, age=self._age(job))
        return decide.on_error(error, job.task, retries=retries)

    def _age(self, job: Job) -> float:
        """Seconds since the message was published."""
        return (self.app.clock.now_ms() - job.delivery.published) / 1000

    def _waited(self, job: Job) -> float:
        """Seconds since the message was due for the first time: one that was sent for next week is not old then."""
        envelope, delivery = job.envelope, job.delivery
        due = max(delivery.published + (envelope.delay or 0), envelope.eta or 0)
        if not (delivery.retries or delivery.snoozes or delivery.crashes):
            due = max(due, delivery.due)  # a dead letter's new life begins here
        return (self.app.clock.now_ms() - due) / 1000

    def _bounded(self, job: Job, verdict: Verdict) -> Verdict:
        if not isinstance(verdict, Retry | Snooze):
            return verdict
        conf, options = self.app.conf, job.task.options
        age = self._waited(job)
        limit = conf.max_snooze if options.max_snooze is None else options.max_snooze
        return decide.bounded(verdict, job.task, retries=job.delivery.retries, age=age, max_snooze=limit)

    def _settle(self, job: Job, verdict: Verdict) -> Settlement:
        chain, ctx, delivery = job.chain, job.ctx, job.delivery
        data: bytes | None = None
        if isinstance(verdict, Done):
            try:
                data = self._result(job, verdict.value)
            except UnencodableResult as error:
                verdict, job.error = Fail(f"result cannot be stored: {error}"), error
        job.verdict = verdict
        kind: Any = decide.class_of(verdict)
        hooks = chain.settling["result" if kind == "done" and job.envelope.keep_result else kind]
        if hooks:
            chain.tell(hooks, job.entered, ctx, verdict)
        if (
            isinstance(verdict, Done)
            and verdict.by is None
            and ctx.effects is None
            and ctx.follow_ups is None
        ):
            return Settlement(delivery.receipt, "done", data)
        effects, follow_ups = tuple(ctx.effects or ()), tuple(ctx.follow_ups or ())
        if isinstance(verdict, Done):
            return Settlement(
                delivery.receipt, "done", data, reason=said(verdict), effects=effects, follow_ups=follow_ups
            )
        reason = said(verdict)
        self._log(job, verdict, reason)
        after, at = self._when(job, verdict) if isinstance(verdict, Retry | Snooze) else (None, None)
        return Settlement(
            delivery.receipt,
            kind,
            reason=reason,
            error=_encode_error(describe(job.error)) if job.error is not None else None,
            after=after,
            at=at,
            effects=effects,
            follow_ups=follow_ups,
        )

    def _when(self, job: Job, verdict: Retry | Snooze) -> tuple[int | None, int | None]:
        if verdict.at is not None:
            return None, to_ms(verdict.at, name="at", call=type(verdict).__name__)
        seconds = verdict.after
        if seconds is None:
            seconds = job.task.delay_for(job.delivery.retries, self._rng)
        return countdown_ms(seconds, name="after"), None

    def _done(self, job: Job, value: Any) -> Settlement:
        """The short way of a task that has returned, where nobody looks at its end."""
        ctx = job.ctx
        job.verdict = _DONE
        if ctx.effects is None and ctx.follow_ups is None:
            if value is None:
                return Settlement(job.delivery.receipt, "done")
            try:
                return Settlement(job.delivery.receipt, "done", self._result(job, value))
            except UnencodableResult:
                pass
        return self._settle(job, Done(value))

    def _result(self, job: Job, value: Any) -> bytes | None:
        """The result as it is stored and handed to links; None when nobody wants it."""
        if value is None:
            return None
        name, envelope = job.task.name, job.envelope
        if isinstance(value, CoroutineType):
            value.close()
            raise UnencodableResult(
                f"{name}() returned a coroutine that nobody awaited: what is decorated must itself be `async def`"
            )
        if not envelope.keep_result and not (envelope.on_end and _takes_result(envelope.on_end)):
            return None
        data = job.task.compiled.encode_result(value)
        if len(data) > HARD_MAX_MESSAGE:
            raise UnencodableResult(
                f"{name}() returned {len(data):,} bytes, the limit is {HARD_MAX_MESSAGE:,}; store large data elsewhere "
                "and return a reference to it"
            )
        return data

    def _log(self, job: Job, verdict: Verdict, reason: str | None) -> None:
        extra = {
            "task": job.task.name,
            "id": job.ctx.id,
            "attempt": job.ctx.attempt,
            "queue": job.ctx.queue,
            "verdict": decide.class_of(verdict),
        }
        if isinstance(verdict, Fail):
            quiet = job.error is None or decide.expected(job.error, job.task.options.throws)
            logger.log(
                logging.INFO if quiet else logging.ERROR,
                "task %s (%s) failed: %s",
                job.task.name,
                job.ctx.id,
                reason,
                extra=extra,
                exc_info=None if quiet else job.error,
            )
        else:
            logger.info("task %s (%s): %r", job.task.name, job.ctx.id, verdict, extra=extra)

    def settled(self, run: Job | Delivery, answer: Settled, settlement: Settlement) -> None:
        """Tell the `settled` hooks how the transition went (reliq.worker.telling)."""
        tell_settled(self.open, run, answer, settlement)


_DONE = Done()

#: What a task may raise that would end a process: it ends its own run, not the worker's.
_ENDS_A_PROCESS = (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError)


async def _aside(call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> tuple[R, bool]:
    """What `call` gives, run to its end in a helper thread; and whether this asyncio Task was cancelled meanwhile."""
    work = asyncio.ensure_future(asyncio.to_thread(call, *args, **kwargs))
    cancelled = False
    while not work.done():
        try:
            await asyncio.wait((work,))
        except asyncio.CancelledError:
            cancelled = True
    return work.result(), cancelled


def _takes_result(endings: tuple[Ending, ...]) -> bool:
    return any(follow_up.takes == "result" for ending in endings for follow_up in ending.follow_ups)


def _occasion(verdict: Verdict) -> BaseException | None:
    """The error on whose occasion the task raised its verdict, for the record: `raise Fail("...") from error`."""
    error = verdict.__cause__
    if error is None and not verdict.__suppress_context__:
        error = verdict.__context__
    if error is None or isinstance(error, Verdict):
        return None
    error.__traceback__ = own_frames(error.__traceback__)
    return error


def _failed(delivery: Delivery, error: BaseException, reason: str) -> Settlement:
    return Settlement(
        delivery.receipt,
        "failed",
        reason=storable(reason, MAX_REASON),
        error=_encode_error(describe(error, frames=False)),
    )


def _as_error(raised: BaseException) -> BaseException:
    error = RuntimeError(f"the task raised {type(raised).__name__}: {text_of(raised)}")
    error.__cause__ = raised
    raised.__traceback__ = own_frames(raised.__traceback__)
    return error
