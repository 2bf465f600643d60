"""What hooks and tasks are given: the context of one publish, of one run, and how a message ended."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import msgspec

from reliq.compat.request import RequestFields
from reliq.errors import HookError, ReliqError
from reliq.policy.additions import ENDINGS, GUARDS, OF_A_PUBLISH, OF_AN_ENDING, check
from reliq.ports.values import Delivery
from reliq.verdicts import Verdict
from reliq.wire.message import Effect, Ending, Envelope, FollowUp, Guard, VerdictClass

if TYPE_CHECKING:
    from reliq.app import Reliq
    from reliq.ports.store import Store
    from reliq.tasks import Task

__all__ = ["DuplicateOf", "Outcome", "PublishContext", "RunContext", "current"]

IDEMPOTENCY_HEADER = "reliq-idempotency-key"
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

_current: ContextVar[RunContext | None] = ContextVar("reliq_current", default=None)


def current() -> RunContext:
    """The context of the task that runs here; `ReliqError` outside of one."""
    ctx = _current.get()
    if ctx is None:
        raise ReliqError("current() works inside a running task; outside there is no current task")
    return ctx


class Outcome(msgspec.Struct, frozen=True):
    """How a transition went, for `settled` hooks.

    state     done, failed, dropped, or due after a retry or snooze; also where a cancelled message was dropped instead
    answer    applied, repeated, or stale (the transition was refused: somebody else holds the message)
    verdict   the task's verdict, or what took its place where the broker refused that; None when the broker itself
              moved the message (expiry, cancel, crash, ...)
    """

    id: str
    task: str
    queue: str
    state: str
    reason: str | None = None
    answer: str = "applied"
    verdict: Verdict | None = None
    error: BaseException | None = None
    duration: float | None = None  # seconds the task ran


class DuplicateOf(msgspec.Struct, frozen=True):
    """The message that was there before: what a middleware found that let no second one in.

    state  where it is; None when there is no record of it
    trace  the W3C traceparent of its own publish, for a span link; None when it had none
    """

    id: str
    state: str | None = None
    trace: str | None = None


class PublishContext:
    """One publish on its way to the broker; `headers` may be written, guards, effects and endings added.

    keep_result   whether its result will be kept
    eta, delay    when it is due, as the call says: a moment or a span from acceptance (ms); a hook may set another
    duplicate_of  set by the hook that refuses, drops or joins a duplicate, for the hooks outside of it
    """

    __slots__ = (
        "_args",
        "_bound",
        "_id",
        "_kwargs",
        "app",
        "delay",
        "duplicate_of",
        "effects",
        "endings",
        "eta",
        "guards",
        "headers",
        "keep_result",
        "options",
        "queue",
        "replays",
        "state",
        "task",
    )

    def __init__(
        self,
        app: Reliq,
        task: Task[..., Any],
        id: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: Mapping[str, Any],
        headers: dict[str, str],
        queue: str,
        keep_result: bool = True,
        eta: int | None = None,
        delay: int | None = None,
    ) -> None:
        self.app = app
        self.task = task
        self._id = id
        self._args = args
        self._kwargs = kwargs
        self.options = options
        self.headers = headers
        self.queue = queue
        self.keep_result = keep_result
        self.eta = eta
        self.delay = delay
        self.duplicate_of: DuplicateOf | None = None
        self.state: dict[str, Any] = {}
        self.guards: list[Guard] = []
        self.effects: list[Effect] = []
        self.endings: list[Ending] = []
        self.replays: list[Guard] = []
        self._bound: dict[str, Any] | None = None

    @property
    def id(self) -> str:
        return self._id

    @property
    def args(self) -> tuple[Any, ...]:
        return self._args

    @property
    def kwargs(self) -> Mapping[str, Any]:
        return self._kwargs

    @property
    def store(self) -> Store:
        return self.app.broker

    @property
    def idempotency_key(self) -> str:
        return self.headers.get(IDEMPOTENCY_HEADER) or self.id

    @property
    def trace(self) -> str | None:
        """The W3C traceparent that the caller, or a hook outside of this one, has put into the headers."""
        return trace_of(self.headers)

    @property
    def inside(self) -> RunContext | None:
        """The run of the same app's task that publishes this, if one does."""
        running = _current.get()
        return running if running is not None and running.app is self.app else None

    def bound(self) -> dict[str, Any]:
        """The arguments by name, defaults applied."""
        if self._bound is None:
            self._bound = self.task.compiled.bind(self._args, self._kwargs)
        return self._bound

    def with_publish(self, item: Guard | Effect) -> None:
        """Let a guard or an effect belong to this publish: one step with the message's acceptance."""
        check(item, OF_A_PUBLISH, "with_publish takes guards and effects")
        if type(item) in GUARDS:
            self.guards.append(item)  # type: ignore[arg-type]
        else:
            self.effects.append(item)  # type: ignore[arg-type]

    def on_replay(self, guard: Guard) -> None:
        """Let a guard hold again, and be taken again, before the message gets a new life as a dead letter."""
        check(guard, GUARDS, "on_replay takes guards")
        self.replays.append(guard)

    def on_end(self, verdict_class: VerdictClass, *items: Effect | FollowUp) -> None:
        """Let effects or follow-ups belong to the message's ending, whoever makes it."""
        if verdict_class not in ENDINGS:
            raise HookError(f"on_end({verdict_class!r}, ...): an ending is one of {', '.join(ENDINGS)}")
        for item in items:
            check(item, OF_AN_ENDING, "on_end takes effects and follow-ups")
        if FollowUp not in map(type, items):
            self.endings.append(Ending(verdict_class, items))  # type: ignore[arg-type]
            return
        effects = tuple(i for i in items if not isinstance(i, FollowUp))
        follow_ups = tuple(i for i in items if isinstance(i, FollowUp))
        self.endings.append(Ending(verdict_class, effects, follow_ups))


class RunContext(RequestFields, msgspec.Struct, eq=False):
    """One run of a task.

    attempt   1 for the first run
    fence     grows with every claim of a message: compare it in your own database to refuse an older run's writes
    state     a dictionary of this run, for hooks to keep things under their own name
    """

    app: Reliq
    task: Task[..., Any]
    delivery: Delivery
    envelope: Envelope
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    effects: list[Effect] | None = None
    follow_ups: list[FollowUp] | None = None
    _state: dict[str, Any] | None = None

    def __repr__(self) -> str:  # without the arguments
        return f"<run of {self.task.name}, message {self.id}>"

    @property
    def id(self) -> str:
        return self.envelope.id

    @property
    def queue(self) -> str:
        return self.envelope.queue

    @property
    def headers(self) -> Mapping[str, str]:
        return self.envelope.headers

    @property
    def options(self) -> Mapping[str, Any]:
        return self.task.middleware_options

    @property
    def store(self) -> Store:
        return self.app.broker

    @property
    def attempt(self) -> int:
        return self.delivery.attempt

    @property
    def retries(self) -> int:
        return self.delivery.retries

    @property
    def fence(self) -> int:
        return self.delivery.receipt.fence

    @property
    def trace(self) -> str | None:
        """The W3C traceparent of the publish."""
        return trace_of(self.envelope.headers)

    @property
    def root(self) -> str:
        return self.envelope.root or self.envelope.id

    @property
    def parent(self) -> str | None:
        return self.envelope.parent

    @property
    def state(self) -> dict[str, Any]:
        if self._state is None:
            self._state = {}
        return self._state

    @property
    def idempotency_key(self) -> str:
        """The key to hand to a provider so that a second run of this message is the same request."""
        return self.envelope.headers.get(IDEMPOTENCY_HEADER) or self.envelope.id

    def with_settlement(self, item: Effect | FollowUp) -> None:
        """Let an effect or follow-up belong to this run's settlement: it happens only if the settlement counts."""
        check(item, OF_AN_ENDING, "with_settlement takes effects and follow-ups")
        if isinstance(item, FollowUp):
            self.follow_ups = [*(self.follow_ups or ()), item]
        else:
            self.effects = [*(self.effects or ()), item]


def trace_of(headers: Mapping[str, str]) -> str | None:
    """The W3C traceparent in the headers, where there is a proper one."""
    found = headers.get("traceparent")
    return found if found is not None and _TRACEPARENT.fullmatch(found) else None
