"""The handlers of a task's base class: `on_failure` and its kin, called where the task ran."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from reliq.middleware import Middleware
from reliq.verdicts import Done, Fail, Retry, Verdict

if TYPE_CHECKING:
    from reliq.context import RunContext

__all__ = ["ErrorOf", "Handlers"]


class ErrorOf:
    """An error as handlers and signals are given it: `exception`, `type` and the `traceback` as text."""

    __slots__ = ("exception", "traceback", "type")

    def __init__(self, error: BaseException) -> None:
        self.exception = error
        self.type = type(error)
        self.traceback = "".join(traceback.format_exception(error))

    def __str__(self) -> str:
        return self.traceback


def cause_of(ctx: RunContext, verdict: Verdict) -> BaseException:
    """The error behind a verdict: what the task raised, what it gave as the cause, else the verdict."""
    raised = ctx.state.get(Handlers.name)
    return raised if raised is not None else verdict.__cause__ or verdict


class Handlers(Middleware):
    """Calls the handlers that a base overrides; it comes with such a base, innermost in the chain.

    They run before the broker hears of the ending, so that `self.request` is there; when the settlement is refused
    (somebody else holds the message by then) they have run all the same.
    """

    name = "handlers"

    def prerun(self, ctx: RunContext) -> None:
        ctx.task.before_start(ctx.id, ctx.args, ctx.kwargs)

    def failure(self, ctx: RunContext, error: BaseException) -> None:
        ctx.state[self.name] = error

    def settling(self, ctx: RunContext, verdict: Verdict) -> None:
        task, call = ctx.task, (ctx.id, ctx.args, ctx.kwargs)
        if isinstance(verdict, Done):
            task.on_success(verdict.value, *call)
            task.after_return("SUCCESS", verdict.value, *call, None)
        elif isinstance(verdict, Retry | Fail):
            error = cause_of(ctx, verdict)
            told = ErrorOf(error)
            if isinstance(verdict, Retry):
                task.on_retry(error, *call, told)
            else:
                task.on_failure(error, *call, told)
                task.after_return("FAILURE", error, *call, told)
