"""The way of a call into the broker: encode, let the middleware in, publish, let the middleware out."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reliq.context import PublishContext, _current
from reliq.errors import (
    BrokerError,
    BrokerUnavailable,
    GuardRefused,
    HookError,
    MessageTooLarge,
    OptionError,
    PublishRefused,
)
from reliq.flight import Flight, context_of, prepare, unknown
from reliq.policy.ids import follow_up_id, new_id
from reliq.ports.values import Publication, Published
from reliq.results import Handle
from reliq.wire.codec import MAX_HEADERS
from reliq.wire.message import WIRE_VERSION, Ending, Envelope, FollowUp

if TYPE_CHECKING:
    from reliq.app import Defaults, Reliq
    from reliq.tasks import Signature, Task

logger = logging.getLogger("reliq.publish")

_NONE: Mapping[str, Any] = {}
_NO_HEADERS: dict[str, str] = {}


class Publisher:
    """Publishes for one app."""

    def __init__(self, app: Reliq) -> None:
        self.app = app

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
            body = task.compiled.encode(args, kwargs)
            if call:
                envelope = self.envelope(task, body, call)
            else:
                envelope = _plain(task, body, self.app.defaults(task), self._running())
            published = self._send([Publication(envelope)])[0]
            if published.status == "refused":
                raise _error_of(published)
            handle: Handle[Any] = Handle(self.app, envelope.id, task)
            handle.duplicate = published.status == "duplicate"
            return handle
        outcome = self.many([(task, args, kwargs, call)])[0]
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def many(
        self,
        calls: Sequence[tuple[Task[..., Any], tuple[Any, ...], dict[str, Any], Mapping[str, Any] | None]],
    ) -> list[Handle[Any] | Exception]:
        """Publish many calls in one step to the broker; a handle or an error for each, in order.

        Where the broker fails as a whole, that is raised, unless a middleware made something else of it.
        """
        if not any(task.chain.publish for task in {call[0] for call in calls}):
            return self._without_hooks(calls)
        flights: list[Flight] = []
        try:
            for call in calls:
                flights.append(Flight(self, *call))
            waiting = [(f, f.publication) for f in flights if f.publication is not None]
            answers = self._send([publication for _, publication in waiting]) if waiting else []
        except Exception as error:
            for flight in flights:
                flight.fail(error)
            if all(flight.failed for flight in flights if flight.publication is not None):
                raise
            return [f.outcome() for f in flights]
        except BaseException as stop:
            for flight in flights:
                flight.fail(stop)
            raise
        for (flight, _), published in zip(waiting, answers, strict=True):
            flight.land(published, _error_of(published) if published.status == "refused" else None)
        return [f.outcome() for f in flights]

    def _without_hooks(
        self,
        calls: Sequence[tuple[Task[..., Any], tuple[Any, ...], dict[str, Any], Mapping[str, Any] | None]],
    ) -> list[Handle[Any] | Exception]:
        """`many` for tasks whose publish nobody hooks into."""
        app = self.app
        outcomes: list[Handle[Any] | Exception] = []
        publications: list[Publication] = []
        places: list[int] = []
        last: Task[..., Any] | None = None
        defaults: Defaults | None = None
        running = self._running()
        for task, args, kwargs, call in calls:
            try:
                if defaults is None or task is not last:
                    defaults, last = app.defaults(task), task
                body = task.compiled.encode(args, kwargs)
                envelope = self.envelope(task, body, call) if call else _plain(task, body, defaults, running)
            except Exception as error:
                outcomes.append(error)
                continue
            places.append(len(outcomes))
            outcomes.append(Handle(app, envelope.id, task))
            publications.append(Publication(envelope))
        answers = self._send(publications) if publications else []
        for place, published in zip(places, answers, strict=True):
            if published.status == "refused":
                outcomes[place] = _error_of(published)
            elif published.status == "duplicate":
                outcomes[place].duplicate = True  # type: ignore[union-attr]
        return outcomes

    def _send(self, publications: list[Publication]) -> list[Published]:
        try:
            broker = self.app.broker
        except BrokerError as error:
            raise PublishRefused(f"Nothing was published: {error}") from error
        try:
            return broker.publish(publications)
        except BrokerUnavailable as error:
            if getattr(error, "certain", False):
                raise PublishRefused(f"Nothing was published: {error}") from error
            raise unknown(tuple(p.envelope.id for p in publications), error) from error
        except PublishRefused:
            raise
        except (BrokerError, MessageTooLarge) as error:
            raise PublishRefused(f"Nothing was published: {error}") from error

    # --- envelopes ---

    def _running(self) -> Envelope | None:
        """The message whose task publishes."""
        running = _current.get()
        return running.envelope if running is not None and running.app is self.app else None

    def envelope(
        self,
        task: Task[..., Any],
        body: bytes,
        call: Mapping[str, Any],
        ctx: PublishContext | None = None,
    ) -> Envelope:
        """What travels: the call's options over the task's, with what the publish hooks wrote."""
        defaults = self.app.defaults(task)
        if ctx is not None and not call:
            return _hooked(ctx, body, defaults, self._running())
        if ctx is not None:
            id, queue, headers = ctx.id, ctx.queue, ctx.headers
            eta, delay = ctx.eta, ctx.delay
            on_end, on_replay = tuple(ctx.endings), tuple(ctx.replays)
        else:
            id = call.get("id") or new_id()
            queue = call.get("queue") or defaults.queue
            eta, delay = call.get("eta"), call.get("delay")
            headers, on_end, on_replay = call.get("headers") or _NO_HEADERS, (), ()
        _check_sizes(task.name, id, body, headers, defaults)
        if "link" in call or "link_error" in call:
            on_end = (*on_end, *_links(self, id, call))
        ignore = call.get("ignore_result", defaults.ignore_result)
        parent = self._running()
        return Envelope(
            v=WIRE_VERSION,
            id=id,
            task=task.name,
            queue=queue,
            body=body,
            priority=call.get("priority", defaults.priority),
            eta=eta,
            delay=delay,
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
            on_replay=on_replay,
        )

    def follow_up(self, signature: Signature, id: str, takes: str) -> FollowUp:
        """The message that `signature` will be when the message it hangs on ends.

        Its publish hooks run now, up to their yield: what they write into headers and `on_end` goes with it.
        """
        task, args, kwargs = signature.task, signature.args, signature.kwargs
        if task.app is not self.app:
            raise OptionError(
                f"A link to {task.name!r} of app {task.app.name!r}: the broker of app {self.app.name!r} publishes it, "
                f"so it must be a task of that app; publish it inside a task instead"
            )
        signature_of = task.compiled
        body = signature_of.encode_partial(args, kwargs) if takes else signature_of.encode(args, kwargs)
        call = {"id": id, **signature.options}
        ctx = context_of(self.app, task, call, args, kwargs)
        for hook in task.chain.publish:
            prepare(hook, ctx)
        return FollowUp(self.envelope(task, body, call, ctx), takes)  # type: ignore[arg-type]


def _plain(task: Task[..., Any], body: bytes, defaults: Defaults, parent: Envelope | None) -> Envelope:
    """The envelope of a call without options and hooks: most calls, so only what differs is looked at."""
    id = new_id()
    if len(body) > defaults.max_message:
        raise _too_large(f"arguments of {len(body):,} bytes", task.name, id, defaults.max_message)
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


def _hooked(ctx: PublishContext, body: bytes, defaults: Defaults, parent: Envelope | None) -> Envelope:
    """The envelope of a call without options, with what the hooks wrote."""
    _check_sizes(ctx.task.name, ctx.id, body, ctx.headers, defaults)
    return Envelope(
        WIRE_VERSION,
        ctx.id,
        ctx.task.name,
        ctx.queue,
        body,
        defaults.priority,
        ctx.eta,
        ctx.delay,
        expires_in=defaults.expires_in,
        headers=ctx.headers,
        on_end=tuple(ctx.endings),
        max_crashes=defaults.max_crashes,
        keep=defaults.keep_ignored if defaults.ignore_result else defaults.keep,
        keep_failed=defaults.keep_failed,
        keep_result=not defaults.ignore_result,
        root=None if parent is None else parent.root or parent.id,
        parent=None if parent is None else parent.id,
        on_replay=tuple(ctx.replays),
    )


def _check_sizes(task: str, id: str, body: bytes, headers: Mapping[str, str], defaults: Defaults) -> None:
    if len(body) > defaults.max_message:
        raise _too_large(f"arguments of {len(body):,} bytes", task, id, defaults.max_message)
    if headers and _size(headers) > MAX_HEADERS:
        raise _too_large("headers", task, id, MAX_HEADERS)


def _size(headers: Mapping[str, str]) -> int:
    """The bytes of the headers; `HookError` for what a hook may not put there."""
    try:
        return len("".join((*headers, *headers.values())).encode())
    except (AttributeError, TypeError, UnicodeEncodeError) as error:
        raise HookError(f"Headers map texts to texts that have UTF-8, got {headers!r}") from error


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
