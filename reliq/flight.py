"""One publish on its way through the publish hooks: entered outermost first, left innermost first.

Whatever happens, each hook that was entered hears how it went, once.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Generator, Mapping
from types import GeneratorType
from typing import TYPE_CHECKING, Any

from reliq.context import PublishContext
from reliq.errors import ArgumentError, HookError, HookSwallowed, OptionError, PublishUnknown, ReliqError
from reliq.middleware import Join
from reliq.policy.ids import new_id
from reliq.ports.values import Publication, Published
from reliq.results import Handle
from reliq.verdicts import Drop

if TYPE_CHECKING:
    from reliq.app import Reliq
    from reliq.policy.chain import Hook
    from reliq.publishing import Publisher
    from reliq.tasks import Task

logger = logging.getLogger("reliq.publish")

_NONE: Mapping[str, Any] = {}


class Flight:
    """One publish with its middleware: entered on construction, landed with the broker's answer."""

    def __init__(
        self,
        publisher: Publisher,
        task: Task[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        call: Mapping[str, Any] | None,
    ) -> None:
        call = call or _NONE
        self._app = publisher.app
        self._task = task
        self._open: list[tuple[Hook, Generator[None, Published, Any]]] = []
        self._result: Handle[Any] | BaseException | None = None
        self.publication: Publication | None = None
        self.failed = False
        ctx = context_of(self._app, task, call, args, kwargs)
        self.id = ctx.id
        try:
            if self._enter(ctx):
                body = task.compiled.encode(args, kwargs)
                envelope = publisher.envelope(task, body, call, ctx)
                self.publication = Publication(envelope, tuple(ctx.guards), tuple(ctx.effects))
        except Exception as error:
            self.land(None, error)
        except BaseException as stop:
            self.land(None, stop)
            raise

    def _enter(self, ctx: PublishContext) -> bool:
        for hook in self._task.chain.publish:
            try:
                answer = self._begin(hook, ctx)
            except Drop as drop:
                answer = drop
            except Exception:
                if not hook.observer:
                    raise
                logger.exception("observer %r failed in publish", hook.name)
                continue
            if answer is None:
                continue
            if hook.observer:
                logger.warning("observer %r gave %r in publish: it decides nothing", hook.name, answer)
                continue
            self._result = self._rejected(hook, answer)
            self.land(Published(ctx.id, "refused"), None)
            return False
        return True

    def _begin(self, hook: Hook, ctx: PublishContext) -> object:
        """Enter one hook; what it says instead of yielding."""
        answer = hook.call(ctx)
        if type(answer) is not GeneratorType and not isinstance(answer, Generator):
            return answer
        try:
            next(answer)
        except StopIteration as stop:
            if stop.value is None:
                raise HookError(f"{hook.name}.publish ended without a yield or a Drop/Join") from None
            return stop.value
        self._open.append((hook, answer))
        return None

    def fail(self, error: BaseException) -> None:
        """The publish as a whole failed: tell the hooks, with an error of this message's own."""
        if self.publication is None and self._result is not None:
            return
        mine = error
        if isinstance(error, PublishUnknown):
            mine = unknown((self.id,), error.__cause__ or "")
        elif isinstance(error, ReliqError):
            mine = copy.copy(error)
        if mine is not error:
            mine.__cause__ = error.__cause__
        self.land(None, mine)
        self.failed = self._result is mine

    def land(self, published: Published | None, error: BaseException | None) -> None:
        """Unwind the hooks with the broker's answer or with its error."""
        while self._open:
            hook, generator = self._open.pop()
            try:
                answer = _resume(hook, generator, published, error)
                if error is None:
                    if answer is not None:
                        logger.error("middleware %r gave %r after the publish: too late", hook.name, answer)
                elif not hook.observer:
                    if answer is None:
                        raise _swallowed(hook, error)
                    self._result = self._rejected(hook, answer)
                    published, error = Published(self.id, "refused"), None
            except Exception as raised:
                if raised is error:
                    continue
                if hook.observer or error is None:
                    # The message is accepted: an error now would say otherwise.
                    logger.exception("middleware %r failed after the publish", hook.name)
                else:
                    error = raised
            except BaseException as stop:
                if error is None or isinstance(error, Exception):
                    error = stop
        if error is not None:
            self._result = error
        elif self._result is None:
            self._result = Handle(self._app, self.id, self._task)
            self._result.duplicate = published is not None and published.status == "duplicate"

    def _rejected(self, hook: Hook, answer: object) -> Handle[Any]:
        if isinstance(answer, Join):
            return Handle(self._app, answer.id, self._task, kept=answer.record)
        if isinstance(answer, Drop):
            return Handle.of_rejected(self._app, self._task, answer)
        raise HookError(f"{hook.name}.publish gave {answer!r}; it gives Drop, Join or None")

    def outcome(self) -> Handle[Any] | Exception:
        result = self._result
        assert result is not None
        if isinstance(result, BaseException) and not isinstance(result, Exception):
            raise result
        return result


def _resume(
    hook: Hook,
    generator: Generator[None, Published, Any],
    published: Published | None,
    error: BaseException | None,
) -> object:
    """Let a hook go on after its yield; what it returns or, a Drop, raises."""
    try:
        if error is not None:
            generator.throw(error)
        else:
            assert published is not None
            generator.send(published)
    except StopIteration as stop:
        return stop.value
    except Drop as drop:
        return drop
    twice = HookError(f"{hook.name}.publish yielded twice")
    twice.__cause__ = error
    generator.close()
    raise twice


def _swallowed(hook: Hook, error: BaseException) -> HookSwallowed:
    swallowed = HookSwallowed(f"{hook.name}.publish swallowed a {type(error).__name__}: {error}")
    swallowed.__cause__ = error
    return swallowed


def prepare(hook: Hook, ctx: PublishContext) -> None:
    """Let a publish hook prepare a follow-up; `OptionError` for one that must decide when that is published."""
    try:
        answer = hook.call(ctx)
        if isinstance(answer, Generator):
            next(answer)
            answer.close()
            answer = None
    except StopIteration as stop:
        answer = stop.value
    except Exception as error:
        if hook.observer:
            logger.exception("observer %r failed in publish", hook.name)
            return
        if not isinstance(error, ArgumentError):
            raise
        raise OptionError(
            f"{ctx.task.name!r} cannot be a link: its middleware {hook.name!r} looks at the arguments at the publish, "
            f"when the parent's result is not there yet ({error}); publish it inside a task instead"
        ) from error
    if not hook.observer and (answer is not None or ctx.guards or ctx.effects):
        raise OptionError(
            f"{ctx.task.name!r} cannot be a link: its middleware {hook.name!r} decides at the publish, and nobody "
            "asks it when the broker publishes a link; publish it inside a task instead"
        )


def context_of(
    app: Reliq, task: Task[..., Any], call: Mapping[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> PublishContext:
    """What the publish hooks of one call are given."""
    defaults = app.defaults(task)
    queue, keep = defaults.queue, not defaults.ignore_result
    if not call:
        return PublishContext(app, task, new_id(), args, kwargs, {**task.middleware_options}, {}, queue, keep)
    return PublishContext(
        app,
        task,
        call.get("id") or new_id(),
        args,
        kwargs,
        {**task.middleware_options, **call.get("middleware", _NONE)},
        dict(call.get("headers") or ()),
        call.get("queue") or queue,
        not call["ignore_result"] if "ignore_result" in call else keep,
        call.get("eta"),
        call.get("delay"),
    )


def unknown(ids: tuple[str, ...], error: BaseException | str) -> PublishUnknown:
    """The error of a publish whose answer was lost."""
    return PublishUnknown(
        f"The broker did not answer, so message {ids[0]} may or may not have been accepted; publish it again with "
        f"task_id={ids[0]!r} to find out. {error}",
        id=ids[0],
        ids=ids,
    )
