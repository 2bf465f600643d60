"""The observers that send signals; one is in a chain only while somebody is connected to what it sends."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from reliq import signals
from reliq.handlers import ErrorOf, Handlers, cause_of
from reliq.middleware import Observer
from reliq.ports.service import Service
from reliq.ports.values import Published
from reliq.verdicts import Done, Drop, Fail, Retry, Snooze, Verdict

if TYPE_CHECKING:
    from reliq.app import Reliq
    from reliq.context import PublishContext, RunContext

_PUBLISH = (signals.before_task_publish, signals.after_task_publish)
_RUN = (
    signals.task_prerun,
    signals.task_postrun,
    signals.task_success,
    signals.task_failure,
    signals.task_retry,
    signals.task_revoked,
)
_WORKER = (
    signals.worker_process_init,
    signals.worker_process_shutdown,
    signals.worker_ready,
    signals.worker_shutdown,
)


def for_tasks() -> tuple[Observer, ...]:
    """What belongs into a task's chain now."""
    publish = (_publish_signals,) if any(_PUBLISH) else ()
    return (*publish, _run_signals) if any(_RUN) else publish


def for_workers(app: Reliq) -> tuple[Observer, ...]:
    """What is to be started and stopped with a worker now."""
    return (WorkerSignals(app),) if any(_WORKER) else ()


class PublishSignals(Observer):
    """before_task_publish, after_task_publish; texts put into `headers` before travel with the message."""

    name = "publish-signals"

    def publish(self, ctx: PublishContext) -> Generator[None, Published, None]:
        given = {"id": ctx.id, "task": ctx.task.name}
        headers = {**ctx.headers, **given}
        fields: dict[str, Any] = {
            "body": (ctx.args, dict(ctx.kwargs), {}),
            "exchange": "",
            "routing_key": ctx.queue,
            "headers": headers,
            "properties": {"correlation_id": ctx.id},
        }
        signals.before_task_publish.send(ctx.task.name, **fields)
        added = {name: value for name, value in headers.items() if name not in given}
        if not all(isinstance(text, str) for pair in added.items() for text in pair):
            raise TypeError(f"a receiver of before_task_publish put other than texts into headers: {added!r}")
        ctx.headers.update(added)
        published = yield
        if published.status == "accepted":
            signals.after_task_publish.send(ctx.task.name, **fields)


class RunSignals(Observer):
    """task_prerun when it runs, the others when its ending is decided."""

    name = "run-signals"

    def prerun(self, ctx: RunContext) -> None:
        signals.task_prerun.send(ctx.task, **_told(ctx))

    def failure(self, ctx: RunContext, error: BaseException) -> None:
        ctx.state.setdefault(Handlers.name, error)

    def settling(self, ctx: RunContext, verdict: Verdict) -> None:
        task, state, value = ctx.task, "IGNORED", None
        if isinstance(verdict, Done):
            state, value = "SUCCESS", verdict.value
            signals.task_success.send(task, result=value)
        elif isinstance(verdict, Fail):
            state, value = "FAILURE", cause_of(ctx, verdict)
            frames = value.__traceback__
            told = {"task_id": ctx.id, "args": ctx.args, "kwargs": ctx.kwargs}
            signals.task_failure.send(task, exception=value, traceback=frames, einfo=ErrorOf(value), **told)
        elif isinstance(verdict, Retry):
            state, value = "RETRY", cause_of(ctx, verdict)
            signals.task_retry.send(task, request=ctx, reason=value, einfo=ErrorOf(value))
        elif isinstance(verdict, Drop) and verdict.reason == "cancelled":
            state = "REVOKED"
            signals.task_revoked.send(task, request=ctx, terminated=True, signum=None, expired=False)
        elif isinstance(verdict, Snooze):
            state = "RETRY"
        signals.task_postrun.send(task, **_told(ctx), retval=value, state=state)


class WorkerSignals(Observer):
    """Those of a worker's processes, and through a service those of their parent."""

    name = "worker-signals"

    def __init__(self, app: Reliq) -> None:
        self._app = app

    def startup(self, worker: Any) -> None:
        signals.worker_process_init.send(None)

    def shutdown(self, worker: Any) -> None:
        signals.worker_process_shutdown.send(None, pid=os.getpid(), exitcode=0)

    def services(self) -> tuple[Service, ...]:
        return (_Parent(self._app),)


class _Parent:
    """Tells once that the worker has started, and that it ends."""

    name = "signals"

    def __init__(self, app: Reliq) -> None:
        self._app = app
        self._ready = False

    def tick(self) -> float:
        if not self._ready:
            self._ready = True
            signals.worker_ready.send(self._app)
        return 30.0

    def stop(self) -> None:
        signals.worker_shutdown.send(self._app)


def _told(ctx: RunContext) -> dict[str, Any]:
    return {"task_id": ctx.id, "task": ctx.task, "args": ctx.args, "kwargs": ctx.kwargs}


_publish_signals = PublishSignals()
_run_signals = RunSignals()
