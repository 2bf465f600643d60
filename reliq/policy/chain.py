"""The order of middleware and the running of its hooks, precomputed once per task.

Only the order is decided here; what a verdict means is `reliq.policy.decide`'s.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Generator, Sequence
from typing import Any

from reliq.errors import HookError, HookSwallowed, OptionError
from reliq.verdicts import Verdict

logger = logging.getLogger("reliq.middleware")

_RUN_HOOKS = ("prerun", "around", "postrun", "failure", "settling", "settled")


class Hook:
    """One overridden hook: the call, whose it is, how deep it stands, and whether its errors only get logged."""

    __slots__ = ("call", "depth", "is_generator", "name", "observer")

    def __init__(self, call: Callable[..., Any], name: str, depth: int, observer: bool) -> None:
        self.call = call
        self.name = name
        self.depth = depth
        self.observer = observer
        self.is_generator = inspect.isgeneratorfunction(call)


class Chain:
    """The effective middleware of one task."""

    __slots__ = (
        "around",
        "failure",
        "middleware",
        "names",
        "postrun",
        "prerun",
        "publish",
        "settled",
        "settling",
    )

    def __init__(self, middleware: Sequence[Any], *, base: type, observer: type) -> None:
        self.middleware = tuple(middleware)
        self.names = tuple(m.name for m in middleware)
        check_order(self.middleware)

        def hooks(name: str) -> tuple[Hook, ...]:
            return tuple(
                Hook(getattr(m, name), m.name, depth, isinstance(m, observer))
                for depth, m in enumerate(self.middleware)
                if getattr(type(m), name) is not getattr(base, name)
            )

        self.publish = hooks("publish")
        self.prerun = hooks("prerun")
        self.around = hooks("around")
        self.postrun = hooks("postrun")[::-1]
        self.failure = hooks("failure")[::-1]
        self.settling = hooks("settling")[::-1]
        self.settled = hooks("settled")[::-1]

    def enter(self, ctx: Any) -> tuple[Verdict | None, int]:
        """Run `prerun`, outermost first; the verdict that short-circuits, and how many middleware were entered."""
        for hook in self.prerun:
            verdict = call(hook, ctx)
            if verdict is not None:
                return _checked(hook, verdict), hook.depth + 1
        return None, len(self.middleware)

    def after(self, hooks: tuple[Hook, ...], entered: int, ctx: Any, outcome: Any) -> Verdict | None:
        """Run `postrun` or `failure` of what was entered, innermost first; the first verdict, though all run."""
        first: Verdict | None = None
        for hook in hooks:
            if hook.depth < entered:
                verdict = call(hook, ctx, outcome)
                if verdict is not None and first is None:
                    first = _checked(hook, verdict)
        return first

    def tell(self, hooks: tuple[Hook, ...], entered: int, *args: Any) -> None:
        """Run hooks whose errors cannot change anything any more: they are logged with the middleware's name."""
        for hook in hooks:
            if hook.depth < entered:
                try:
                    hook.call(*args)
                except Exception:
                    logger.exception("middleware %r failed in %s", hook.name, hook.call.__name__)


def call(hook: Hook, *args: Any) -> Any:
    """The hook's answer; an observer's error is logged and its answer ignored."""
    if not hook.observer:
        return hook.call(*args)
    try:
        hook.call(*args)
    except Exception:
        logger.exception("observer %r failed in %s", hook.name, hook.call.__name__)
    return None


class Arounds:
    """The `around` generators of one run: entered in order, left in reverse."""

    __slots__ = ("_ctx", "_open")

    def __init__(self, ctx: Any) -> None:
        self._ctx = ctx
        self._open: list[tuple[Hook, Generator[None, object, None]]] = []

    def enter(self, hooks: tuple[Hook, ...]) -> None:
        for hook in hooks:
            generator = hook.call(self._ctx)
            try:
                next(generator)
            except StopIteration:
                raise HookError(f"{hook.name}.around ended without a yield") from None
            except Exception:
                if not hook.observer:
                    raise
                logger.exception("observer %r failed in around", hook.name)
                continue
            self._open.append((hook, generator))

    def leave(self, value: object, error: BaseException | None) -> BaseException | None:
        """Unwind; the error that remains, if any."""
        while self._open:
            hook, generator = self._open.pop()
            error = _leave(hook, generator, value, error)
        return error


def _leave(
    hook: Hook, generator: Generator[None, object, None], value: object, error: BaseException | None
) -> BaseException | None:
    try:
        if error is None:
            generator.send(value)
        else:
            generator.throw(error)
    except StopIteration:
        if error is None or hook.observer:
            return error
        swallowed = HookSwallowed(
            f"{hook.name}.around swallowed {type(error).__name__}: {error}; raise it again"
        )
        swallowed.__cause__ = error
        return swallowed
    except BaseException as raised:
        if raised is error:
            return error
        if hook.observer and isinstance(raised, Exception):
            logger.exception("observer %r failed in around", hook.name)
            return error
        return raised
    generator.close()
    return HookError(f"{hook.name}.around yielded twice")


def check_order(middleware: Sequence[Any]) -> None:
    """Refuse a chain in which something stands outside what it requires outside of itself, or two share a name."""
    names = [m.name for m in middleware]
    for index, m in enumerate(middleware):
        if m.name in names[:index]:
            raise OptionError(f"Two middleware are called {m.name!r}; give one of them another `name`")
        for outer in m.requires_outer:
            if outer in names[index + 1 :]:
                raise OptionError(
                    f"Middleware {m.name!r} must stand inside {outer!r}: put {outer!r} before it in the list "
                    f"(now: {', '.join(names)})"
                )


def _checked(hook: Hook, verdict: object) -> Verdict:
    if isinstance(verdict, Verdict):
        return verdict
    raise HookError(
        f"{hook.name}.{hook.call.__name__} returned {verdict!r}; a hook returns a verdict or None"
    )
