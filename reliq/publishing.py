"""The way of a call into the broker: encode, let the middleware in, publish, let the middleware out."""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reliq.context import PublishContext, _current
from reliq.errors import (
    BrokerError,
    BrokerUnavailable,
    GuardRefused,
    HookError,
    HookSwallowed,
    MessageTooLarge,
    PublishRefused,
    PublishUnknown,
)
from reliq.middleware import Join
from reliq.policy.ids import follow_up_id, new_id
from reliq.ports.values import Publication, Published
from reliq.results import Handle
from reliq.verdicts import Drop
from reliq.wire.codec import MAX_HEADERS
from reliq.wire.message import WIRE_VERSION, Ending, Envelope, FollowUp

if TYPE_CHECKING:
    from reliq.app import Reliq
    from reliq.policy.chain import Hook
    from reliq.tasks import Signature, Task

logger = logging.getLogger("reliq.publish")

_NONE: Mapping[str, Any] = {}
_NO_HEADERS: dict[str, str] = {}


class Publisher:
    """Publishes for one app."""

    def __init__(self, app: Reliq) -> None:
        self._app = app

    def one(
        self,
        task: Task[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        call: Mapping[str, Any] | None,
    ) -> Handle[Any]:
        """Publish one call; its handle.

        Raises `PublishRefused` (certain: nothing was accepted) or `PublishUnknown` (publish the same id again).
        """
        if not task.chain.publish:
            body = task.signature.encode(args, kwargs)
            envelope = self._envelope(task, body, call) if call else self._plain(task, body)
            published = self._send([Publication(envelope)])[0]
            if published.status == "refused":
                raise _error_of(published)
            return Handle(self._app, envelope.id, task)
        outcome = self.many([(task, args, kwargs, call)])[0]
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def many(
        self,
        calls: Sequence[tuple[Task[..., Any], tuple[Any, ...], dict[str, Any], Mapping[str, Any] | None]],
    ) -> list[Handle[Any] | Exception]:
        """Publish many calls in one step to the broker; a handle or an error for each, in order."""
        if not any(call[0].chain.publish for call in calls):
            return self._many_plain(calls)
        flights = [_Flight(self, *call) for call in calls]
        waiting = [f for f in flights if f.publication is not None]
        try:
            answers = (
                self._send([f.publication for f in waiting if f.publication is not None]) if waiting else []
            )
        except Exception as error:
            for flight in waiting:
                flight.land(None, error)
            if not any(f.has_hooks for f in waiting):
                raise
            return [f.outcome() for f in flights]
        for flight, published in zip(waiting, answers, strict=True):
            flight.land(published, _error_of(published) if published.status == "refused" else None)
        return [f.outcome() for f in flights]

    def _many_plain(
        self,
        calls: Sequence[tuple[Task[..., Any], tuple[Any, ...], dict[str, Any], Mapping[str, Any] | None]],
    ) -> list[Handle[Any] | Exception]:
        app = self._app
        outcomes: list[Handle[Any] | Exception] = []
        publications: list[Publication] = []
        places: list[int] = []
        for place, (task, args, kwargs, call) in enumerate(calls):
            try:
                body = task.signature.encode(args, kwargs)
                envelope = self._envelope(task, body, call) if call else self._plain(task, body)
            except Exception as error:
                outcomes.append(error)
            else:
                publications.append(Publication(envelope))
                places.append(place)
                outcomes.append(Handle(app, envelope.id, task))
        if publications:
            for place, published in zip(places, self._send(publications), strict=True):
                if published.status == "refused":
                    outcomes[place] = _error_of(published)
        return outcomes

    def _send(self, publications: list[Publication]) -> list[Published]:
        app = self._app
        try:
            return app.broker.publish(publications)
        except BrokerUnavailable as error:
            first = publications[0].envelope.id
            if getattr(error, "certain", False):
                raise PublishRefused(f"Nothing was published: {error}") from error
            raise PublishUnknown(
                f"The broker did not answer, so message {first} may or may not have been accepted; publish it again "
                f"with task_id={first!r} to find out. {error}",
                id=first,
                ids=tuple(p.envelope.id for p in publications),
            ) from error
        except PublishRefused:
            raise
        except (BrokerError, MessageTooLarge) as error:
            raise PublishRefused(f"Nothing was published: {error}") from error

    # --- envelopes ---

    def _plain(self, task: Task[..., Any], body: bytes) -> Envelope:
        """The envelope of a call without options and hooks: most calls, so only what differs is looked at."""
        app = self._app
        defaults = app.defaults(task)
        id = new_id()
        if len(body) > defaults.max_message:
            raise _too_large(f"arguments of {len(body):,} bytes", task.name, id, defaults.max_message)
        running = _current.get()
        parent = running.envelope if running is not None and running.app is app else None
        return Envelope(
            v=WIRE_VERSION,
            id=id,
            task=task.name,
            queue=defaults.queue,
            body=body,
            priority=defaults.priority,
            expires_in=defaults.expires_in,
            max_crashes=defaults.max_crashes,
            keep=defaults.keep_ignored if defaults.ignore_result else defaults.keep,
            keep_failed=defaults.keep_failed,
            keep_result=not defaults.ignore_result,
            root=None if parent is None else parent.root or parent.id,
            parent=None if parent is None else parent.id,
        )

    def _envelope(
        self,
        task: Task[..., Any],
        body: bytes,
        call: Mapping[str, Any],
        ctx: PublishContext | None = None,
    ) -> Envelope:
        app = self._app
        defaults = app.defaults(task)
        running = _current.get()
        if ctx is not None:
            id, queue, headers = ctx.id, ctx.queue, ctx.headers
            on_end = tuple(ctx.endings)
        else:
            id = call.get("id") or new_id()
            queue = call.get("queue") or defaults.queue
            headers, on_end = call.get("headers") or _NO_HEADERS, ()
        if len(body) > defaults.max_message:
            raise _too_large(f"arguments of {len(body):,} bytes", task.name, id, defaults.max_message)
        if headers and sum(len(k) + len(v) for k, v in headers.items()) > MAX_HEADERS:
            raise _too_large("headers", task.name, id, MAX_HEADERS)
        if call:
            links = _links(self, id, call)
            if links:
                on_end = (*on_end, *links)
        ignore = call.get("ignore_result", defaults.ignore_result)
        parent = running.envelope if running is not None and running.app is app else None
        return Envelope(
            v=WIRE_VERSION,
            id=id,
            task=task.name,
            queue=queue,
            body=body,
            priority=call.get("priority", defaults.priority),
            eta=call.get("eta"),
            delay=call.get("delay"),
            expires=call.get("expires"),
            expires_in=call.get("expires_in", None if "expires" in call else defaults.expires_in),
            expires_after_due=call.get("expires_after_due"),
            headers=headers,
            on_end=on_end,
            max_crashes=defaults.max_crashes,
            keep=defaults.keep_ignored if ignore else defaults.keep,
            keep_failed=defaults.keep_failed,
            keep_result=not ignore,
            chosen="id" in call,
            soft_time_limit=call.get("soft_time_limit"),
            time_limit=call.get("time_limit"),
            root=call.get("root") or (None if parent is None else parent.root or parent.id),
            parent=call.get("parent") or (None if parent is None else parent.id),
        )

    def follow_up(self, signature: Signature, id: str, takes: str) -> FollowUp:
        """The message that `signature` will be when the message it hangs on ends."""
        task = signature.task
        if takes:
            body = task.signature.encode_partial(signature.args, signature.kwargs)
        else:
            body = task.signature.encode(signature.args, signature.kwargs)
        envelope = self._envelope(task, body, {**signature.options, "id": id})
        return FollowUp(envelope=envelope, takes=takes)  # type: ignore[arg-type]


def _links(publisher: Publisher, id: str, call: Mapping[str, Any]) -> tuple[Ending, ...]:
    endings = []
    number = 0
    for option, on, takes in (("link", "done", "result"), ("link_error", "failed", "id")):
        follow_ups = []
        for signature in call.get(option, ()):
            number += 1
            carried = "" if signature.immutable else takes
            follow_ups.append(publisher.follow_up(signature, follow_up_id(id, number), carried))
        if follow_ups:
            endings.append(Ending(on=on, follow_ups=tuple(follow_ups)))  # type: ignore[arg-type]
    return tuple(endings)


def _too_large(what: str, task: str, id: str, limit: int) -> MessageTooLarge:
    return MessageTooLarge(
        f"Message {id} of task {task!r} has {what}, the limit is {limit:,} bytes; store large data elsewhere and pass "
        "a reference to it",
        limit=limit,
    )


def _error_of(published: Published) -> PublishRefused:
    """The error for a refused publication."""
    found = published.found
    if found is not None:
        return GuardRefused(
            f"Message {published.id} was refused by a guard: {found.guard}",
            guard=found.guard,
            found=found,
            id=published.id,
        )
    return PublishRefused(f"Message {published.id} was refused: {published.error}", id=published.id)


class _Flight:
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
        self._app = app = publisher._app
        self._task = task
        self._open: list[tuple[Hook, Generator[None, Published, Any]]] = []
        self._result: Handle[Any] | Exception | None = None
        self.publication: Publication | None = None
        self.has_hooks = bool(task.chain.publish)
        self.id = call.get("id") or new_id()
        ctx = PublishContext(
            app,
            task,
            self.id,
            args,
            kwargs,
            {**task.middleware_options, **call.get("middleware", _NONE)},
            dict(call.get("headers") or ()),
            call.get("queue") or task.queue,
        )
        try:
            if self._enter(ctx):
                body = task.signature.encode(args, kwargs)
                envelope = publisher._envelope(task, body, call, ctx)
                self.publication = Publication(envelope, tuple(ctx.guards), tuple(ctx.effects))
        except Exception as error:
            self.land(None, error)

    def _enter(self, ctx: PublishContext) -> bool:
        for hook in self._task.chain.publish:
            try:
                answer = hook.call(ctx)
                if isinstance(answer, Generator):
                    try:
                        next(answer)
                    except StopIteration as stop:
                        answer = stop.value
                        if answer is None and not hook.observer:
                            raise HookError(
                                f"{hook.name}.publish ended without a yield or a Drop/Join"
                            ) from None
                    else:
                        self._open.append((hook, answer))
                        continue
            except Exception:
                if not hook.observer:
                    raise
                logger.exception("observer %r failed in publish", hook.name)
                continue
            if answer is not None and not hook.observer:
                self._reject(hook, answer)
                self.land(Published(ctx.id, "refused"), None)
                return False
        return True

    def land(self, published: Published | None, error: Exception | None) -> None:
        """Unwind the hooks with the broker's answer or with its error."""
        while self._open:
            hook, generator = self._open.pop()
            try:
                if error is not None:
                    generator.throw(error)
                else:
                    assert published is not None
                    generator.send(published)
                generator.close()
                raise HookError(f"{hook.name}.publish yielded twice")
            except StopIteration as stop:
                if error is None or hook.observer:
                    continue
                if stop.value is None:
                    swallowed = HookSwallowed(
                        f"{hook.name}.publish swallowed {type(error).__name__}: {error}"
                    )
                    swallowed.__cause__ = error
                    error = swallowed
                else:
                    self._reject(hook, stop.value)
                    published, error = Published(self.id, "refused"), None
            except Exception as raised:
                if raised is error:
                    continue
                if hook.observer or error is None:
                    # The message is accepted: an error now would say otherwise.
                    logger.exception("middleware %r failed after the publish", hook.name)
                else:
                    error = raised
        if error is not None:
            self._result = error
        elif self._result is None:
            self._result = Handle(self._app, self.id, self._task)

    def _reject(self, hook: Hook, answer: object) -> None:
        if isinstance(answer, Join):
            self._result = Handle(self._app, answer.id, self._task)
        elif isinstance(answer, Drop):
            self._result = Handle.of_rejected(self._app, self._task, answer)
        else:
            raise HookError(f"{hook.name}.publish returned {answer!r}; it returns Drop, Join or None")

    def outcome(self) -> Handle[Any] | Exception:
        assert self._result is not None
        return self._result
