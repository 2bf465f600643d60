"""`task.apply()`: a run here and now, for tests and for calls that must not wait."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from reliq.context import RunContext, _current
from reliq.errors import OptionError, TaskDropped
from reliq.handlers import ErrorOf, Handlers
from reliq.policy import decide
from reliq.policy.ids import new_id
from reliq.ports.values import Delivery, Receipt
from reliq.verdicts import Done, Drop, Retry, Verdict

if TYPE_CHECKING:
    from reliq.tasks import Task

__all__ = ["EagerResult"]

_handlers = Handlers()
#: Options of `apply` that change what a run here can see.
_OPTIONS = frozenset({"task_id", "headers", "queue", "priority", "root_id", "parent_id"})


class EagerResult:
    """How a run of `task.apply()` went; it is over, so nothing here waits."""

    def __init__(self, task: Task[..., Any], id: str, verdict: Verdict, error: BaseException | None) -> None:
        self.id = self.task_id = id
        self.name = task.name
        self._verdict = verdict
        self._error = error

    @property
    def state(self) -> str:
        """SUCCESS, FAILURE or IGNORED."""
        return {"done": "SUCCESS", "failed": "FAILURE"}.get(decide.class_of(self._verdict), "IGNORED")

    @property
    def status(self) -> str:
        return self.state

    @property
    def result(self) -> Any:
        """The value, or the error."""
        return self._verdict.value if isinstance(self._verdict, Done) else self._raised()

    info = result

    @property
    def traceback(self) -> str | None:
        return None if self._error is None else ErrorOf(self._error).traceback

    def get(self, timeout: float | None = None, *, propagate: bool = True) -> Any:
        """The value; the task's own error when it failed, `TaskDropped` when it was dropped."""
        if propagate and not self.successful():
            raise self._raised()
        return self.result

    def ready(self) -> bool:
        return True

    def successful(self) -> bool:
        return self.state == "SUCCESS"

    def failed(self) -> bool:
        return self.state == "FAILURE"

    def _raised(self) -> BaseException:
        if isinstance(self._verdict, Drop):
            return TaskDropped(f"{self.name} was dropped: {self._verdict.reason}", id=self.id)
        return self._error or self._verdict

    def __repr__(self) -> str:
        return f"<EagerResult {self.id} {self.state}>"


def run_eagerly(
    task: Task[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    options: Mapping[str, Any],
    *,
    throw: bool,
) -> EagerResult:
    """Run it until it ends; the arguments travel as they would, so what a broker would refuse is refused here."""
    unknown = options.keys() - _OPTIONS
    if unknown:
        raise OptionError(
            f"{task.name}.apply({', '.join(sorted(unknown))}=): it runs here and now, so only "
            f"{', '.join(sorted(_OPTIONS))} mean something"
        )
    call = task.app.call_options(task, options)
    id = call.get("id") or new_id()
    body = task.compiled.encode(args, kwargs)
    envelope = task.app.publisher.envelope(task, body, {**call, "id": id})
    retries = 0
    while True:
        delivery = Delivery(Receipt(id, "eager", 0), b"", attempt=retries + 1, retries=retries)
        decoded = task.compiled.decode(body)
        verdict, error = _run(task, RunContext(task.app, task, delivery, envelope, *decoded))
        if not isinstance(verdict, Retry):
            break
        retries += 1
    result = EagerResult(task, id, verdict, error)
    if throw:
        result.get()
    return result


def _run(task: Task[..., Any], ctx: RunContext) -> tuple[Verdict, BaseException | None]:
    token = _current.set(ctx)
    error: BaseException | None = None
    verdict: Verdict
    try:
        try:
            _handlers.prerun(ctx)
            value = task(*ctx.args, **ctx.kwargs)
            if inspect.isawaitable(value):
                value = _awaited(value)
            verdict = value if isinstance(value, Verdict) else Done(value)
        except Verdict as raised:
            verdict, error = raised, raised.__cause__
        except Exception as raised:
            _handlers.failure(ctx, raised)
            verdict, error = decide.on_error(raised, task, retries=ctx.retries), raised
        verdict = decide.bounded(verdict, task, retries=ctx.retries, age=0, max_snooze=0)
        _handlers.settling(ctx, verdict)
        return verdict, error
    finally:
        _current.reset(token)


async def _await(value: Any) -> Any:
    return await value


def _awaited(value: Any) -> Any:
    """The value of an async task, in a thread of its own: a loop may run here already."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(copy_context().run, asyncio.run, _await(value)).result()
