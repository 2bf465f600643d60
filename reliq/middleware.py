"""Middleware: how everything that is not the core hooks into a message's way.

Index 0 of an app's list is outermost.  `publish`, `prerun` and `around` enter first to last; `postrun`, `failure`,
`settling` and `settled` unwind last to first, and only what was entered unwinds.  A hook that is not overridden
costs nothing.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any

from reliq.errors import HookError
from reliq.policy.decide import CLASSES
from reliq.ports.values import Published, Record
from reliq.verdicts import Drop, Verdict

if TYPE_CHECKING:
    from reliq.app import Reliq
    from reliq.context import Outcome, PublishContext, RunContext
    from reliq.ports.service import Service

__all__ = ["HOOKS", "Join", "Middleware", "Observer", "hook_of"]

HOOKS = ("publish", "prerun", "around", "postrun", "failure", "settling", "settled")
_OTHERS = ("bind", "services", "startup", "shutdown", "checks", "check_options")
_WORDS = {
    "settling_on": (*CLASSES, "result"),
    "settled_on": ("applied", "repeated", "stale"),
}


def _check_hook(cls: type, attribute: str, value: object) -> None:
    if attribute in HOOKS or attribute in _OTHERS:
        if inspect.iscoroutinefunction(value) or inspect.isasyncgenfunction(value):
            raise HookError(
                f"{cls.__name__}.{attribute} is `async def`; hooks are plain functions "
                "(for async tasks they run in a helper thread, `around` in the task itself)"
            )
        return
    if attribute.startswith("_") or not inspect.isfunction(value):
        return
    plain = attribute.replace("_", "").lower()
    near = difflib.get_close_matches(plain, HOOKS, n=1, cutoff=0.85)
    if near and attribute != near[0]:
        raise HookError(f"{cls.__name__}.{attribute} is not a hook: did you mean `{near[0]}`?")


def _check_words(cls: type, attribute: str, value: object) -> None:
    """What no hook is ever told of, or a text for a set of them, would leave the hook silent for ever."""
    allowed = _WORDS[attribute]
    known = f"{', '.join(allowed[:-1])} and {allowed[-1]}"
    if value is None:
        return
    if not isinstance(value, set | frozenset):
        raise HookError(
            f"{cls.__name__}.{attribute} is {value!r}; it is None, or a set of words: there are {known}"
        )
    unknown = sorted(repr(word) for word in value if word not in allowed)
    if unknown:
        raise HookError(f"{cls.__name__}.{attribute} has {', '.join(unknown)}; there are {known}")


class Middleware:
    """Base class of all middleware; override only the hooks you need.

    name            shown by `reliq tasks`, matched by `requires_outer`; defaults to the class's name in lower case
    options         task and call options this middleware owns; a misspelt one fails where the task is defined
    requires_outer  names that, where present in the chain, must stand outside this one; checked at start
    settling_on     verdicts of which its `settling` hears: done, result, retry, snooze, dropped, failed; None: all
    settled_on      answers of which its `settled` is told: applied, repeated, stale; None: all

    Of verdicts, `result` is a done whose result is kept. Without `done` and without `applied` these hooks cost a run
    that returns nothing; where `settled` hears of another answer its context is made anew, without the run's `state`,
    value and error.
    """

    name: str = "middleware"
    options: frozenset[str] = frozenset()
    requires_outer: tuple[str, ...] = ()
    settling_on: frozenset[str] | None = None
    settled_on: frozenset[str] | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = cls.__name__.lower()
        for attribute, value in vars(cls).items():
            _check_hook(cls, attribute, value)
        for attribute in _WORDS:
            _check_words(cls, attribute, getattr(cls, attribute))

    # --- the app's and the worker's life ---

    def bind(self, app: Reliq) -> None:
        """Called once, when the app first needs its middleware."""

    def check_options(self, task: Any, options: dict[str, Any]) -> None:
        """Called when a task is defined, with the options this middleware owns; raise `OptionError` on a bad one."""

    def services(self) -> Iterable[Service]:
        """Services to run in the worker's parent process."""
        return ()

    def startup(self, worker: Any) -> None:
        """Called in each worker process before its first claim."""

    def shutdown(self, worker: Any) -> None:
        """Called in each worker process after its last settlement."""

    def checks(self) -> Iterable[str]:
        """Complaints for `reliq doctor`; empty when all is well."""
        return ()

    # --- a message's way ---

    def publish(
        self, ctx: PublishContext
    ) -> Generator[None, Published, Drop | Join | None] | Drop | Join | None:
        """Around a publish, in the caller's thread; a generator with exactly one yield, or a plain function.

        `p = yield` gives `Published`; a refused guard (`GuardRefused`) and broker errors are thrown in.  Ending before
        the yield or after a refusal with `Drop(reason)` gives a handle in state REJECTED, with `Join(id)` the handle of
        that message.  When another middleware rejected the message, `p.status` is "refused".
        """
        return None

    def prerun(self, ctx: RunContext) -> Verdict | None:
        """Before the task: a verdict short-circuits; `Snooze` refunds the attempt."""
        return None

    def around(self, ctx: RunContext) -> Generator[None, object, None]:
        """Around the task, in its own thread or asyncio Task, like `contextlib.contextmanager`.

        `value = yield` gives the task's value; its error is thrown in and must leave again (`HookSwallowed`).
        """
        yield

    def postrun(self, ctx: RunContext, value: Any) -> Verdict | None:
        """After the task returned: a verdict replaces `Done(value)`; the first one wins, all run."""
        return None

    def failure(self, ctx: RunContext, error: BaseException) -> Verdict | None:
        """After the task raised: a verdict replaces the policy's decision; the first one wins, all run."""
        return None

    def settling(self, ctx: RunContext, verdict: Verdict) -> None:
        """After the decision, before the broker hears of it: may only add effects (`ctx.with_settlement`)."""

    def settled(self, ctx: RunContext | None, ending: Outcome) -> None:
        """After the transition, in the process that made it, best effort; `ctx` is None when no task ran for it."""


class Observer(Middleware):
    """Middleware that only looks: it cannot return verdicts, and an error in it changes nothing but the log."""


def hook_of(middleware: Middleware, hook: str) -> Any:
    """The bound hook, or None when it is not overridden."""
    if getattr(type(middleware), hook) is getattr(Middleware, hook):
        return None
    return getattr(middleware, hook)


class Join:
    """What a `publish` hook returns to give the caller the handle of another message.

    record  how that message ended, where the middleware kept that itself: the handle then tells this and asks no
            broker, whose own record may be past its life
    """

    __slots__ = ("id", "record")

    def __init__(self, id: str, *, record: Record | None = None) -> None:
        self.id = id
        self.record = record

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Join) and (other.id, other.record) == (self.id, self.record)

    def __hash__(self) -> int:
        return hash(("Join", self.id))

    def __repr__(self) -> str:
        kept = "" if self.record is None else f", record=<{self.record.state}>"
        return f"Join({self.id!r}{kept})"
