"""What Celery's AsyncResult has, as part of our handles."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import msgspec

from reliq.compat.names import Name, refuse

if TYPE_CHECKING:
    from reliq.results import Handle

_FLOW = "workflows are planned"

# fmt: off
RESULT_NAMES: dict[str, Name] = {
    "id": Name("works"),
    "task_id": Name("works"),
    "get": Name("works", text="raises TaskFailed with the error as data; inside a task it raises GetInsideTask"),
    "ready": Name("works"),
    "successful": Name("works"),
    "failed": Name("works"),
    "state": Name("works", text="Celery's states, and IGNORED, REJECTED, UNKNOWN"),
    "status": Name("works"),
    "result": Name("works", text="the value, or TaskFailed or TaskDropped with the error as data"),
    "info": Name("works", text="the same as result"),
    "traceback": Name("works", text="text"),
    "forget": Name("works"),
    "revoke": Name("works", text="terminate=True stops a running task by an exception in it; signal= is refused"),
    "wait": Name("works", text="gives the record; the result is get()"),
    "date_done": Name("works", text="an aware datetime in UTC"),
    "name": Name("works", text="the task's name"),
    "args": Name("works", text="as they were sent: plain JSON values"),
    "kwargs": Name("works", text="as they were sent: plain JSON values"),
    "queue": Name("works"),
    "retries": Name("works"),
    "worker": Name("works", text="the owner that ran it last"),
    "parent": Name("works", text="the handle of the message whose task published it, or None"),
    "ignored": Name("works", text="whether its result is not kept"),
    "app": Name("works"),
    "as_tuple": Name("use", text="keep handle.id and use app.AsyncResult(id)"),
    "as_list": Name("use", text="keep handle.id and use app.AsyncResult(id)"),
    "backend": Name("use", text="results are in the broker: handle.record()"),
    "then": Name("use", text="use apply_async(link=other.s()): it needs no process that waits"),
    "on_ready": Name("use", text="use apply_async(link=other.s()): it needs no process that waits"),
    "maybe_throw": Name("use", text="use get()"),
    "maybe_reraise": Name("use", text="use get()"),
    "throw": Name("use", text="use get()"),
    "supports_native_join": Name("use", text="get() is always pushed, there is no polling"),
    "children": Name("not_yet", text=f"{_FLOW}; each message records its parent"),
    "collect": Name("not_yet", text=_FLOW),
    "iterdeps": Name("not_yet", text=_FLOW),
    "get_leaf": Name("not_yet", text=_FLOW),
    "graph": Name("not_yet", text=_FLOW),
    "build_graph": Name("not_yet", text=_FLOW),
    "join": Name("not_yet", text=_FLOW),
    "revoke_by_stamped_headers": Name("not_yet", text="stamps are planned"),
}

GET_OPTIONS: dict[str, Name] = {
    "timeout": Name("works"),
    "propagate": Name("works"),
    "interval": Name("use", text="the end is pushed, there is no polling; drop it"),
    "no_ack": Name("use", text="nothing is consumed by looking; drop it"),
    "follow_parents": Name("use", text="ask the parent: handle.parent", values=(False,)),
    "callback": Name("use", text="call it with what get() gives, or use apply_async(link=other.s())"),
    "on_message": Name("not_yet", text="progress is planned"),
    "on_interval": Name("use", text="give a timeout and ask again"),
    "disable_sync_subtasks": Name("use", text="waiting inside a task can dead-lock: use link=", values=(True,)),
    "EXCEPTION_STATES": Name("use", text="use propagate=False and look at handle.state"),
    "PROPAGATE_STATES": Name("use", text="use propagate=False and look at handle.state"),
}
# fmt: on


@refuse(RESULT_NAMES)
class ResultNames:
    """Celery's names of what is known about a message, where ours differ; each asks the broker."""

    __slots__ = ()
    _spoken = "handle"

    @property
    def task_id(self) -> str:
        return _handle(self).id

    @property
    def info(self) -> Any:
        return _handle(self).result

    @property
    def app(self) -> Any:
        return _handle(self)._app

    @property
    def date_done(self) -> datetime | None:
        """When it ended; None while it has not."""
        record = _handle(self).record()
        if record is None or record.ended is None:
            return None
        return datetime.fromtimestamp(record.ended / 1000, UTC)

    @property
    def name(self) -> str | None:
        record = _handle(self).record()
        return record.task if record is not None else None

    @property
    def args(self) -> Any:
        return _arguments(_handle(self))[0]

    @property
    def kwargs(self) -> Any:
        return _arguments(_handle(self))[1]

    @property
    def queue(self) -> str | None:
        record = _handle(self).record()
        return record.queue if record is not None else None

    @property
    def retries(self) -> int | None:
        record = _handle(self).record()
        return record.retries if record is not None else None

    @property
    def worker(self) -> str | None:
        """The owner that ran it last; None when nobody has."""
        record = _handle(self).record()
        if record is None:
            return None
        return record.owner or next((t.owner for t in reversed(record.transitions) if t.owner), None)

    @property
    def parent(self) -> Handle[Any] | None:
        handle = _handle(self)
        envelope = _envelope(handle)
        return handle._app.handle(envelope.parent) if envelope is not None and envelope.parent else None

    @property
    def ignored(self) -> bool:
        envelope = _envelope(_handle(self))
        return envelope is not None and not envelope.keep_result


def _handle(names: ResultNames) -> Handle[Any]:
    return cast("Handle[Any]", names)


def _envelope(handle: Handle[Any]) -> Any:
    from reliq.wire.codec import decode

    record = handle.record()
    return decode(record.payload) if record is not None and record.payload else None


def _arguments(handle: Handle[Any]) -> Any:
    envelope = _envelope(handle)
    return msgspec.json.decode(envelope.body) if envelope is not None else (None, None)
