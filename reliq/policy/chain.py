"""The order of middleware and the running of its hooks, precomputed once per task.

Only the order is decided here; what a verdict means is `reliq.policy.decide`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from types import GeneratorType
from typing import Any

from reliq.errors import HookError, HookSwallowed, OptionError
from reliq.policy.decide import CLASSES
from reliq.verdicts import Verdict

logger = logging.getLogger("reliq.middleware")


class Hook:
    """One overridden hook: the call, whose it is, how deep it stands, and whether its errors only get logged.

    hears  the answers, or the classes of verdicts, of which it is told; None: all
    """

    __slots__ = ("call", "depth", "hears", "name", "observer")

    def __init__(
        self,
        call: Callable[..., Any],
        name: str,
        depth: int,
        observer: bool,
        hears: frozenset[str] | None = None,
    ) -> None:
        self.call = call
        self.name = name
        self.depth = depth
        self.observer = observer
        self.hears = hears


class Chain:
    """The effective middleware of one task.

    settling         the hooks for each class of verdicts; `result`: for done where the result is kept
    settled_applied  the `settled` hooks that hear of what was applied: nearly all that they could hear
    ends_alone       whether nobody looks at the end of a run that returns: where no result is kept, where one is
    """

    __slots__ = (
        "around",
        "ends_alone",
        "failure",
        "middleware",
        "names",
        "postrun",
        "prerun",
        "publish",
        "settled",
        "settled_applied",
        "settling",
    )

    def __init__(self, middleware: Sequence[Any], *, base: type, observer: type) -> None:
        self.middleware = tuple(middleware)
        self.names = tuple(m.name for m in middleware)
        check_order(self.middleware)

        def hooks(name: str) -> tuple[Hook, ...]:
            return tuple(
                Hook(getattr(m, name), m.name, depth, isinstance(m, observer), getattr(m, f"{name}_on", None))
                for depth, m in enumerate(self.middleware)
                if getattr(type(m), name) is not getattr(base, name)
            )

        self.publish = hooks("publish")
        self.prerun = hooks("prerun")
        self.around = hooks("around")
        self.postrun = hooks("postrun")[::-1]
        self.failure = hooks("failure")[::-1]
        settling = hooks("settling")[::-1]
        self.settling = {kind: _told_of(settling, kind) for kind in CLASSES}
        self.settling["result"] = _told_of(settling, "done", "result")
        self.settled = hooks("settled")[::-1]
        self.settled_applied = self.told_of("applied")
        looks = bool(self.postrun or self.settled_applied)
        self.ends_alone = not (looks or self.settling["done"]), not (looks or self.settling["result"])

    def told_of(self, answer: str) -> tuple[Hook, ...]:
        """The `settled` hooks that hear of such an answer."""
        return _told_of(self.settled, answer)

    def enter(self, ctx: Any) -> tuple[BaseException | None, int]:
        """Run `prerun`, outermost first: the verdict or error that ended it early, and how many were entered."""
        for hook in self.prerun:
            try:
                verdict = call(hook, ctx)
            except BaseException as error:
                return error, hook.depth
            if verdict is not None:
                return verdict, hook.depth + 1
        return None, len(self.middleware)

    def returned(
        self, entered: int, ctx: Any, value: Any
    ) -> tuple[Verdict | None, BaseException | None, int]:
        """Run `postrun`, innermost first; the first verdict, though all run.

        An error of a hook is the run's error from there on: what stands further out is to see `failure` instead, and
        the last value says how many those are.
        """
        first: Verdict | None = None
        for hook in self.postrun:
            if hook.depth < entered:
                try:
                    verdict = call(hook, ctx, value)
                except BaseException as error:
                    if first is None:
                        return None, error, hook.depth
                    _logged(hook, error)
                else:
                    first = first or verdict
        return first, None, entered

    def raised(self, entered: int, ctx: Any, error: BaseException) -> Verdict | None:
        """Run `failure`, innermost first; the first verdict, though all run, also after one that broke."""
        first: Verdict | None = None
        for hook in self.failure:
            if hook.depth < entered:
                try:
                    verdict = call(hook, ctx, error)
                except BaseException as fault:
                    _logged(hook, fault)
                else:
                    first = first or verdict
        return first

    def tell(self, hooks: tuple[Hook, ...], entered: int, *args: Any) -> None:
        """Run hooks whose errors cannot change anything any more: they are logged with the middleware's name."""
        for hook in hooks:
            if hook.depth < entered:
                try:
                    hook.call(*args)
                except BaseException as fault:
                    _logged(hook, fault)


def _told_of(hooks: tuple[Hook, ...], *words: str) -> tuple[Hook, ...]:
    return tuple(hook for hook in hooks if hook.hears is None or not hook.hears.isdisjoint(words))


def call(hook: Hook, *args: Any) -> Verdict | None:
    """The hook's verdict, returned or raised; an observer's error is logged, and its verdict ignored."""
    try:
        answer = hook.call(*args)
    except Verdict as verdict:
        answer = verdict
    except Exception as error:
        if not hook.observer:
            raise
        _logged(hook, error)
        return None
    if answer is None:
        return None
    if hook.observer:
        logger.warning("observer %r gave %r in %s: it decides nothing", hook.name, answer, hook.call.__name__)
        return None
    if isinstance(answer, Verdict):
        answer.by = hook.name
        return answer
    raise HookError(f"{hook.name}.{hook.call.__name__} returned {answer!r}; a hook returns a verdict or None")


class Arounds:
    """The `around` generators of one run: entered in order, left in reverse."""

    __slots__ = ("_ctx", "_open")

    def __init__(self, ctx: Any) -> None:
        self._ctx = ctx
        self._open: list[tuple[Hook, Generator[None, object, None]]] = []

    def enter(self, hooks: tuple[Hook, ...]) -> None:
        for hook in hooks:
            try:
                self._open.append((hook, _entered(hook, self._ctx)))
            except (Exception, Verdict) as error:
                if not hook.observer:
                    raise
                _logged(hook, error)

    def leave(self, value: object, error: BaseException | None) -> BaseException | None:
        """Unwind; the error that remains, if any."""
        while self._open:
            hook, generator = self._open.pop()
            after = _leave(hook, generator, value, error)
            if hook.observer and after is not error:
                logger.error("observer %r failed in around", hook.name, exc_info=after)
            else:
                error = after
        return error


def _entered(hook: Hook, ctx: Any) -> Generator[None, object, None]:
    generator = hook.call(ctx)
    if type(generator) is not GeneratorType:
        raise HookError(f"{hook.name}.around gave {generator!r}; it is a generator with one yield")
    try:
        next(generator)
    except StopIteration:
        raise HookError(f"{hook.name}.around ended without a yield") from None
    return generator


def _leave(
    hook: Hook, generator: Generator[None, object, None], value: object, error: BaseException | None
) -> BaseException | None:
    """What the hook makes of the error, or of the value."""
    frames = None if error is None else error.__traceback__
    try:
        if error is None:
            generator.send(value)
        else:
            generator.throw(error)
    except StopIteration:
        if error is None or hook.observer:
            return error
        swallowed = HookSwallowed(
            f"{hook.name}.around swallowed a {type(error).__name__}; it must raise it again"
        )
        swallowed.__cause__ = error
        return swallowed
    except BaseException as raised:
        if error is not None and (raised is error or _is_wrapped(raised, error)):
            error.__traceback__ = frames
            return error
        return raised
    twice = HookError(f"{hook.name}.around yielded twice")
    twice.__cause__ = error
    try:
        generator.close()
    except BaseException as raised:
        twice.__context__ = raised
    return twice


def _is_wrapped(raised: BaseException, error: BaseException) -> bool:
    """Whether it is the task's StopIteration, which leaves a generator as the cause of a RuntimeError (PEP 479)."""
    return isinstance(error, StopIteration) and type(raised) is RuntimeError and raised.__cause__ is error


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


def _logged(hook: Hook, error: BaseException) -> None:
    kind = "observer" if hook.observer else "middleware"
    logger.error("%s %r failed in %s", kind, hook.name, hook.call.__name__, exc_info=error)
