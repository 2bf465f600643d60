"""One run of one delivery: from bytes to a settlement.

`open` decodes, `run` (or `arun` for an async task) executes the chain and the task and gives the settlement that the
broker is asked to apply; nothing here talks to the broker.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import msgspec

from reliq.context import Outcome, RunContext, _current
from reliq.errors import (
    AnnotationError,
    ArgumentError,
    SoftTimeLimitExceeded,
    TaskCancelled,
    UnencodableResult,
    WireError,
)
from reliq.policy import decide
from reliq.policy.chain import Arounds
from reliq.ports.values import Delivery, ErrorInfo, Settled, Settlement
from reliq.schedule.instants import to_ms
from reliq.verdicts import Done, Drop, Fail, Retry, Snooze, Verdict
from reliq.wire.codec import decode as decode_envelope

if TYPE_CHECKING:
    from reliq.app import Reliq
    from reliq.tasks import Task
    from reliq.wire.message import Envelope

logger = logging.getLogger("reliq.task")

_encode_error = msgspec.msgpack.Encoder().encode
_NO_ARGUMENTS = b"[[],{}]"
_MAX_TRACEBACK = 16_000
_MAX_MESSAGE = 2_000
PARK_INTERVAL = 60_000  # ms between two looks at a message whose task is not known here

Guard = Callable[["Job"], AbstractContextManager[None]]


class Job:
    """A delivery that can be run here."""

    __slots__ = (
        "ctx",
        "delivery",
        "duration",
        "envelope",
        "error",
        "hard",
        "is_async",
        "soft",
        "task",
        "verdict",
    )

    def __init__(self, delivery: Delivery, envelope: Envelope, task: Task[..., Any], ctx: RunContext) -> None:
        self.delivery = delivery
        self.envelope = envelope
        self.task = task
        self.ctx = ctx
        self.is_async = task.is_async
        self.verdict: Verdict | None = None
        self.error: BaseException | None = None
        self.duration: float | None = None
        options = task.options
        self.soft: float | None = (
            envelope.soft_time_limit or options.soft_time_limit or task.app.conf.soft_time_limit
        )
        hard = envelope.time_limit or options.time_limit or task.app.conf.time_limit
        if hard is None and self.soft is not None:
            hard = self.soft + 5.0
        self.hard: float | None = hard


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

    # --- opening ---

    def open(self, delivery: Delivery) -> Job | Settlement:
        """The job of a delivery; a settlement at once when it cannot be decoded or its task is not known here."""
        try:
            envelope = decode_envelope(delivery.payload)
        except WireError as error:
            logger.error(
                "message %s cannot be decoded and is quarantined as raw bytes: %s", delivery.receipt.id, error
            )
            return _failed(delivery, error, f"undecodable: {error}")
        task = self._tasks.get(envelope.task)
        if task is None:
            return self._park(delivery, envelope)
        if envelope.body == _NO_ARGUMENTS and not task.signature.parameters:
            return Job(delivery, envelope, task, RunContext(self.app, task, delivery, envelope, (), {}))
        try:
            args, kwargs = task.signature.decode(envelope.body)
        except (ArgumentError, AnnotationError, WireError, msgspec.MsgspecError, RecursionError) as error:
            logger.error(
                "message %s has arguments that task %s cannot take: %s", envelope.id, envelope.task, error
            )
            return _failed(delivery, error, f"arguments do not fit: {error}")
        return Job(delivery, envelope, task, RunContext(self.app, task, delivery, envelope, args, kwargs))

    def _park(self, delivery: Delivery, envelope: Envelope) -> Settlement:
        unknown = self.app.unknown_task(envelope.task)
        age = (self.app.clock.now_ms() - delivery.published) / 1000
        if age > self.app.conf.park_for:
            return _failed(delivery, unknown, f"unknown task for {age / 3600:.0f} h: {unknown}")
        logger.error(
            "message %s is parked: %s (it is looked at again every %d s and fails after %.0f h)",
            envelope.id,
            unknown,
            PARK_INTERVAL // 1000,
            self.app.conf.park_for / 3600,
        )
        return Settlement(delivery.receipt, "snooze", reason=f"parked: {unknown}"[:500], after=PARK_INTERVAL)

    # --- running ---

    def run(self, job: Job) -> Settlement:
        """Run a sync job in this thread; never raises but for what must end the process."""
        ctx, task = job.ctx, job.task
        chain = task.chain
        token = _current.set(ctx)
        began = time.perf_counter()
        entered = len(chain.middleware)
        value: Any = None
        error: BaseException | None = None
        try:
            try:
                verdict, entered = chain.enter(ctx) if chain.prerun else (None, entered)
                if verdict is None:
                    if chain.around:
                        value, error = self._around(job)
                    else:
                        value = self._call(job)
                elif type(verdict) is Done:
                    value = verdict.value
                else:
                    return self._settle(job, verdict, entered)
            except (KeyboardInterrupt, SystemExit, GeneratorExit) as raised:
                error = _as_error(raised)
            except BaseException as raised:
                error = raised
            job.duration = time.perf_counter() - began
            return self._conclude(job, value, error, entered)
        finally:
            _current.reset(token)

    def _around(self, job: Job) -> tuple[Any, BaseException | None]:
        arounds = Arounds(job.ctx)
        value: Any = None
        error: BaseException | None = None
        try:
            arounds.enter(job.task.chain.around)
            value = self._call(job)
        except BaseException as raised:
            error = raised
        return value, arounds.leave(value, error)

    def _call(self, job: Job) -> Any:
        ctx, task = job.ctx, job.task
        try:
            self.current = job
            if job.soft is not None and self.guard is not None:
                with self.guard(job):
                    return task(*ctx.args, **ctx.kwargs)
            return task(*ctx.args, **ctx.kwargs)
        finally:
            self.current = None

    async def arun(self, job: Job) -> Settlement:
        """Run an async job in its own asyncio Task; `around` in it, all other hooks in a helper thread."""
        ctx, chain = job.ctx, job.task.chain
        token = _current.set(ctx)
        began = time.perf_counter()
        entered = len(chain.middleware)
        value: Any = None
        error: BaseException | None = None
        try:
            try:
                verdict: Verdict | None = None
                if chain.prerun:
                    verdict, entered = await asyncio.to_thread(chain.enter, ctx)
                if verdict is None:
                    value, error = await self._acall(job)
                elif type(verdict) is Done:
                    value = verdict.value
                else:
                    return await asyncio.to_thread(self._settle, job, verdict, entered)
            except (KeyboardInterrupt, SystemExit, GeneratorExit) as raised:
                error = _as_error(raised)
            except BaseException as raised:
                error = raised
            job.duration = time.perf_counter() - began
            if chain.postrun or chain.failure or chain.settling:
                return await asyncio.to_thread(self._conclude, job, value, error, entered)
            return self._conclude(job, value, error, entered)
        finally:
            _current.reset(token)

    async def _acall(self, job: Job) -> tuple[Any, BaseException | None]:
        arounds = Arounds(job.ctx) if job.task.chain.around else None
        value: Any = None
        error: BaseException | None = None
        try:
            if arounds is not None:
                arounds.enter(job.task.chain.around)
            value = await self._limited(job)
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

    def _conclude(self, job: Job, value: Any, error: BaseException | None, entered: int) -> Settlement:
        """From value or error, through `postrun` or `failure` and the task's policy, to the settlement."""
        chain, ctx = job.task.chain, job.ctx
        if error is None and isinstance(value, Verdict):
            error, value = value, None
        verdict: Verdict | None = None
        if error is None:
            if not chain.middleware:
                return self._done(job, value)
            try:
                verdict = chain.after(chain.postrun, entered, ctx, value)
            except Exception as raised:
                error = raised
        elif isinstance(error, Done):
            error, verdict = None, error
        elif isinstance(error, Verdict):
            verdict = error
        if error is not None and verdict is None:
            job.error = error
            try:
                verdict = chain.after(chain.failure, entered, ctx, error)
            except Exception:
                logger.exception("a failure hook failed for %s; the task's own policy decides", ctx.id)
            if verdict is None:
                verdict = self._policy(job, error)
        if verdict is None:
            verdict = Done(value)
        return self._settle(job, verdict, entered)

    def _policy(self, job: Job, error: BaseException) -> Verdict:
        if isinstance(error, TaskCancelled):
            return Drop("cancelled")
        if isinstance(error, asyncio.CancelledError):
            error = TaskCancelled("the coroutine was cancelled")
            return Drop("cancelled")
        return decide.on_error(error, job.task, retries=job.delivery.retries)

    def _settle(self, job: Job, verdict: Verdict, entered: int) -> Settlement:
        verdict = self._bounded(job, verdict)
        chain, ctx = job.task.chain, job.ctx
        job.verdict = verdict
        if chain.settling:
            chain.tell(chain.settling, entered, ctx, verdict)
        if isinstance(verdict, Done):
            return self._done(job, verdict.value)
        self._log(job, verdict)
        delivery = job.delivery
        error = _encode_error(describe(job.error)) if job.error is not None else None
        effects, follow_ups = tuple(ctx.effects or ()), tuple(ctx.follow_ups or ())
        kind: Any = decide.class_of(verdict)
        after = at = None
        if isinstance(verdict, Retry | Snooze):
            at = None if verdict.at is None else to_ms(verdict.at, name="at", call="Retry")
            if at is None:
                seconds = verdict.after
                if seconds is None:
                    seconds = job.task.delay_for(delivery.retries, self._rng)
                after = max(0, int(seconds * 1000))
        return Settlement(
            delivery.receipt,
            kind,
            reason=getattr(verdict, "reason", None),
            error=error,
            after=after,
            at=at,
            effects=effects,
            follow_ups=follow_ups,
        )

    def _bounded(self, job: Job, verdict: Verdict) -> Verdict:
        if not isinstance(verdict, Retry | Snooze):
            return verdict
        conf, options = self.app.conf, job.task.options
        age = (self.app.clock.now_ms() - job.delivery.published) / 1000
        limit = conf.max_snooze if options.max_snooze is None else options.max_snooze
        return decide.bounded(verdict, job.task, retries=job.delivery.retries, age=age, max_snooze=limit)

    def _done(self, job: Job, value: Any) -> Settlement:
        delivery, ctx = job.delivery, job.ctx
        data: bytes | None = None
        if job.envelope.keep_result or job.envelope.on_end:
            if value is not None:
                try:
                    data = job.task.signature.encode_result(value)
                except UnencodableResult as error:
                    logger.error(
                        "task %s (%s) returned what cannot be stored: %s", job.task.name, ctx.id, error
                    )
                    job.verdict = Fail(f"result cannot be stored: {error}")
                    job.error = error
                    return _failed(delivery, error, str(job.verdict.reason))
            elif job.envelope.on_end:
                data = b"null"
        if job.verdict is None:
            job.verdict = _DONE
        if ctx.effects is None and ctx.follow_ups is None:
            return Settlement(delivery.receipt, "done", data)
        return Settlement(
            delivery.receipt,
            "done",
            data,
            effects=tuple(ctx.effects or ()),
            follow_ups=tuple(ctx.follow_ups or ()),
        )

    def _log(self, job: Job, verdict: Verdict) -> None:
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
                verdict.reason,
                extra=extra,
                exc_info=None if quiet else job.error,
            )
        else:
            logger.info("task %s (%s): %r", job.task.name, job.ctx.id, verdict, extra=extra)

    def settled(self, job: Job, answer: Settled) -> None:
        """Tell the `settled` hooks how the transition went; costs nothing where there are none."""
        chain = job.task.chain
        if not chain.settled:
            return
        verdict = job.verdict or _DONE
        state = {"retry": "due", "snooze": "due"}.get(decide.class_of(verdict), decide.class_of(verdict))
        outcome = Outcome(
            id=job.ctx.id,
            task=job.task.name,
            queue=job.ctx.queue,
            state=state,
            reason=getattr(verdict, "reason", None),
            answer=answer.status,
            verdict=verdict,
            error=job.error,
            duration=job.duration,
        )
        chain.tell(chain.settled, len(chain.middleware), job.ctx, outcome)


_DONE = Done()


def describe(error: BaseException) -> ErrorInfo:
    """An exception as data, with its traceback, both cut to a bounded length."""
    text = "".join(traceback.format_exception(error))
    if len(text) > _MAX_TRACEBACK:
        text = text[: _MAX_TRACEBACK // 2] + "\n... cut ...\n" + text[-_MAX_TRACEBACK // 2 :]
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return ErrorInfo(name, str(error)[:_MAX_MESSAGE], text)


def _failed(delivery: Delivery, error: BaseException, reason: str) -> Settlement:
    info = ErrorInfo(type(error).__name__, str(error)[:_MAX_MESSAGE])
    return Settlement(delivery.receipt, "failed", reason=reason[:500], error=_encode_error(info))


def _as_error(raised: BaseException) -> BaseException:
    # A task that calls sys.exit() ends its own run, not the worker's.
    error = RuntimeError(f"the task raised {type(raised).__name__}: {raised}")
    error.__cause__ = raised
    return error
