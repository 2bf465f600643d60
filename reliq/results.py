"""Handles: what a publish gives back, to wait for, look at or stop a message."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Generic, Literal, Never, TypeVar, cast, overload

import msgspec

from reliq.compat.names import translate
from reliq.compat.results import GET_OPTIONS, ResultNames
from reliq.context import _current
from reliq.errors import GetInsideTask, ReliqError, ResultTimeout, TaskDropped, TaskFailed, UnknownResult
from reliq.ports.values import ENDED, ErrorInfo, Record
from reliq.verdicts import Drop
from reliq.wire.message import CancelMessage

if TYPE_CHECKING:
    from reliq.app import Reliq
    from reliq.tasks import Task

__all__ = ["Handle", "celery_state", "decode_error"]

R = TypeVar("R")
T = TypeVar("T")
_errors = msgspec.msgpack.Decoder(ErrorInfo)
_REVOKED = ("cancelled", "expired", "revoked", "purged")


def decode_error(data: bytes | None) -> ErrorInfo | None:
    """The recorded exception as data."""
    return _errors.decode(data) if data else None


def celery_state(record: Record | None) -> str:
    """The state under Celery's names; they are views of ours."""
    if record is None:
        return "UNKNOWN"
    if record.state in ("ready", "due"):
        return "RETRY" if record.state == "due" and record.retries else "PENDING"
    if record.state == "dropped":
        # Nobody but the broker drops what never ran; a run that was asked to stop was dropped for that.
        revoked = record.cancel or not record.attempt or record.reason in _REVOKED
        return "REVOKED" if revoked else "IGNORED"
    return {"leased": "STARTED", "done": "SUCCESS", "failed": "FAILURE"}[record.state]


class Handle(ResultNames, Generic[R]):
    """One message, by its id.

    A handle of a publish that middleware rejected has `id` None, state REJECTED and a `reason`; `existing_id` names
    the message that stood in its way.  `kept` is how the message ended, where somebody else than the broker kept that.
    """

    __slots__ = ("_app", "_kept", "_task", "duplicate", "existing_id", "id", "reason", "rejected")

    def __init__(
        self,
        app: Reliq,
        id: str = "",
        task: Task[..., Any] | None = None,
        *,
        kept: Record | None = None,
    ) -> None:
        if id == "":
            raise ReliqError("A handle is of an app and an id: write app.AsyncResult(id)")
        self._app = app
        self._task = task
        self._kept = kept
        self.id: str = id
        self.duplicate = False
        self.rejected = False
        self.reason: str | None = None
        self.existing_id: str | None = None

    @classmethod
    def of_rejected(cls, app: Reliq, task: Task[..., Any] | None, drop: Drop) -> Handle[Any]:
        """The handle of a publish that did not happen."""
        handle: Handle[Any] = cls(app, cast(str, None), task)
        handle.rejected = True
        handle.reason = drop.reason
        handle.existing_id = getattr(drop, "existing_id", None)
        return handle

    # --- looking ---

    def record(self) -> Record | None:
        """All the broker knows, or None when it knows nothing (purged, or never accepted)."""
        if self.rejected or self._kept is not None:
            return self._kept
        return self._app.broker.get(self.id)

    @property
    def state(self) -> str:
        """PENDING, STARTED, RETRY, SUCCESS, FAILURE, REVOKED, IGNORED, REJECTED or UNKNOWN."""
        return "REJECTED" if self.rejected else celery_state(self.record())

    status = state

    async def astate(self) -> str:
        """`state` for async code."""
        return await asyncio.to_thread(lambda: self.state)

    def ready(self) -> bool:
        """Whether the message has ended, however."""
        if self.rejected:
            return True
        record = self.record()
        return record is not None and record.state in ENDED

    def successful(self) -> bool:
        """Whether it ended done."""
        return self.state == "SUCCESS"

    def failed(self) -> bool:
        """Whether it ended failed."""
        return self.state == "FAILURE"

    @property
    def traceback(self) -> str | None:
        """The traceback of the last error, as text."""
        record = self.record()
        error = decode_error(record.error) if record else None
        return error.traceback if error else None

    def why(self) -> str:
        """The message's story: each attempt, its end, and what it waits for."""
        from reliq.story import tell

        if self.rejected:
            other = f"; message {self.existing_id} is in its place" if self.existing_id else ""
            return (
                f"The publish was rejected, so there is no message: {self.reason or 'no reason given'}{other}"
            )
        record = self._app.broker.get(self.id) or self._kept  # the broker's has more of a story
        if record is None:
            return f"No record of {self.id}: it was never accepted, or its record is past its life."
        return "\n".join(tell(record, self._app.clock.now_ms()))

    # --- waiting ---

    def wait(self, timeout: float | None = None) -> Record:
        """Block until the message has ended; its record.

        `ResultTimeout` after `timeout` seconds (None: no limit); `UnknownResult` when there is no record.
        """
        self._refuse_inside_task("wait")
        if self.rejected:
            raise self._rejection()
        if self._kept is not None:
            return self._kept
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = 1.0 if deadline is None else max(0.0, min(1.0, deadline - time.monotonic()))
            record = self._app.broker.wait(self.id, left)
            if record is None:
                raise UnknownResult(
                    f"No record of message {self.id}: it was never accepted, or its record is past its life "
                    "(result_ttl); ask another broker?",
                    id=self.id,
                )
            if record.state in ENDED:
                return record
            if deadline is not None and time.monotonic() >= deadline:
                raise ResultTimeout(
                    f"Message {self.id} is {record.state} after {timeout} s; `reliq why {self.id}` tells more",
                    id=self.id,
                    state=record.state,
                )

    @overload
    def get(
        self: Handle[Coroutine[Any, Any, T]],
        timeout: float | None = None,
        *,
        propagate: Literal[True] = True,
        **celery: Never,
    ) -> T: ...
    @overload
    def get(
        self: Handle[Coroutine[Any, Any, T]],
        timeout: float | None = None,
        *,
        propagate: bool,
        **celery: Never,
    ) -> T | TaskFailed | TaskDropped: ...
    @overload
    def get(self, timeout: float | None = None, *, propagate: Literal[True] = True, **celery: Never) -> R: ...
    @overload
    def get(
        self, timeout: float | None = None, *, propagate: bool, **celery: Never
    ) -> R | TaskFailed | TaskDropped: ...
    def get(self, timeout: float | None = None, *, propagate: bool = True, **celery: Never) -> Any:
        """The task's result; waits for it.

        `TaskFailed` or `TaskDropped` when it ended so (with `propagate=False` they are returned), `ResultTimeout`
        after `timeout` seconds, `UnknownResult` when there is no record.
        """
        if celery:
            translate(celery, GET_OPTIONS, (), where="get()")
        self._refuse_inside_task("get")
        if self.rejected and not propagate:
            return self._rejection()
        record = self.wait(timeout)
        error = self._error(record)
        if error is None:
            return self._value(record)
        if propagate:
            raise error
        return error

    @overload
    async def aget(
        self: Handle[Coroutine[Any, Any, T]],
        timeout: float | None = None,
        *,
        propagate: Literal[True] = True,
    ) -> T: ...
    @overload
    async def aget(
        self: Handle[Coroutine[Any, Any, T]], timeout: float | None = None, *, propagate: bool
    ) -> T | TaskFailed | TaskDropped: ...
    @overload
    async def aget(self, timeout: float | None = None, *, propagate: Literal[True] = True) -> R: ...
    @overload
    async def aget(
        self, timeout: float | None = None, *, propagate: bool
    ) -> R | TaskFailed | TaskDropped: ...
    async def aget(self, timeout: float | None = None, *, propagate: bool = True) -> Any:
        """`get` for async code: waits in a thread, the loop goes on."""
        self._refuse_inside_task("aget")
        return await asyncio.to_thread(_outside, self, timeout, propagate)

    @property
    def result(self) -> Any:
        """The result, the error, or None while it has not ended; does not wait, so a task may ask too."""
        if self.rejected:
            return self._rejection()
        record = self.record()
        if record is None or record.state not in ENDED:
            return None
        return self._error(record) or self._value(record)

    # --- acting ---

    def cancel(self) -> str:
        """Drop the message if it waits, ask its worker to stop it if it runs: cancelled, requested, ended, unknown."""
        return "ended" if self.rejected else self._app.broker.cancel(self.id).status

    def revoke(self, *, terminate: bool = False) -> None:
        """Celery's revoke: drop the message if it waits; with `terminate` also stop it if it runs."""
        if self.rejected:
            return
        if terminate:
            self._app.broker.cancel(self.id, reason="revoked")
        else:
            self._app.broker.apply((), (CancelMessage(self.id, "revoked"),))

    def forget(self) -> bool:
        """Remove the stored result; True when there was one."""
        return not self.rejected and self._app.broker.forget(self.id)

    def _value(self, record: Record) -> R:
        if record.value is None:
            return cast(R, None)
        task = self._task or self._app.tasks.get(record.task)
        if task is not None:
            return cast(R, task.compiled.decode_result(record.value))
        return cast(R, msgspec.json.decode(record.value))

    def _rejection(self) -> TaskDropped:
        return TaskDropped(f"The publish was rejected: {self.reason}", id=None, reason=self.reason)

    def _error(self, record: Record) -> TaskFailed | TaskDropped | None:
        if record.state == "failed":
            info = decode_error(record.error)
            return TaskFailed(
                f"{record.task} ({self.id}) failed: {record.reason or 'no reason given'}",
                id=self.id,
                kind=info.kind if info else "",
                message=info.message if info else record.reason or "",
                traceback=info.traceback if info else None,
            )
        if record.state == "dropped":
            return TaskDropped(
                f"{record.task} ({self.id}) was dropped: {record.reason}", id=self.id, reason=record.reason
            )
        return None

    def _refuse_inside_task(self, call: str) -> None:
        ctx = _current.get()
        if ctx is not None:
            raise GetInsideTask(
                f"{call}() inside task {ctx.task.name} can dead-lock: the worker may have no slot left for the message "
                f"it waits for. Let the result come to you: use apply_async(link=other.s()), so that `other` is called "
                "with it; or raise Snooze(seconds) and look at handle.ready() next time"
            )

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Handle) and other.id == self.id and not self.rejected

    def __hash__(self) -> int:
        return hash(self.id) if not self.rejected else object.__hash__(self)

    def __str__(self) -> str:  # as of Celery's results: people keep it as the id
        return repr(self) if self.rejected else self.id

    def __repr__(self) -> str:
        if self.rejected:
            return f"<Handle rejected: {self.reason}>"
        return f"<Handle {self.id}>"


def _outside(handle: Handle[Any], timeout: float | None, propagate: bool) -> Any:
    return handle.get(timeout, propagate=propagate)
