"""What `self.request` has in Celery, as part of the context of a run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from reliq.compat.names import Name, refuse

if TYPE_CHECKING:
    from reliq.context import RunContext

_FLOW = "workflows are planned"

# fmt: off
REQUEST_FIELDS: dict[str, Name] = {
    "id": Name("works"),
    "root_id": Name("works", text="also `root`"),
    "parent_id": Name("works", text="also `parent`"),
    "args": Name("works", text="a tuple, rebuilt from the annotations"),
    "kwargs": Name("works", text="rebuilt from the annotations"),
    "task": Name("works", text="the task itself; its name is `task.name`"),
    "retries": Name("works"),
    "headers": Name("works", text="yours only: texts"),
    "eta": Name("works", text="when it was due, as ISO 8601 in UTC; None when it was due at once"),
    "expires": Name("works", text="as ISO 8601 in UTC"),
    "hostname": Name("works", text="the owner: host, process and incarnation"),
    "delivery_info": Name("works", text="routing_key (the queue), exchange (always ''), priority, redelivered"),
    "correlation_id": Name("works", text="the id"),
    "is_eager": Name("works", text="True in `task.apply()`"),
    "called_directly": Name("works", text="False; a task that is called as a function has no request"),
    "timelimit": Name("works", text="[hard, soft] of this message"),
    "ignore_result": Name("works"),
    "callbacks": Name("works", text="the names of the tasks that get the result (link)"),
    "errbacks": Name("works", text="the names of the tasks that get the failure (link_error)"),
    "utc": Name("works", text="True"),
    "get": Name("works", text="`request.get(name, default)`"),
    "argsrepr": Name("use", text="arguments are not shown unless asked for; use request.args"),
    "kwargsrepr": Name("use", text="arguments are not shown unless asked for; use request.kwargs"),
    "reply_to": Name("use", text="results are kept in the record; use a Handle of the id"),
    "origin": Name("use", text="put who published into headers="),
    "lang": Name("use", text="every task is Python"),
    "loglevel": Name("use", text="use app.conf.log_level"),
    "logfile": Name("use", text="a worker logs to stderr"),
    "properties": Name("use", text="an AMQP matter; request.delivery_info has the queue and the priority"),
    "update": Name("use", text="a request does not change; use request.state for what belongs to this run"),
    "clear": Name("use", text="a request does not change"),
    "as_execution_options": Name("use", text="publish a new message with apply_async()"),
    "meth": Name("use", text="use request.task"),
    "children": Name("use", text="each message records its parent: request.parent_id in the child"),
    "compression": Name("not_yet", text="compression of bodies is planned"),
    "shadow": Name("not_yet", text="a display name per call is planned"),
    "group": Name("not_yet", text=_FLOW),
    "group_index": Name("not_yet", text=_FLOW),
    "taskset": Name("not_yet", text=_FLOW),
    "chain": Name("not_yet", text=_FLOW),
    "chord": Name("not_yet", text=_FLOW),
    "replaced_task_nesting": Name("not_yet", text=_FLOW),
    "stamps": Name("not_yet", text="stamps are planned; use headers="),
    "stamped_headers": Name("not_yet", text="stamps are planned; use headers="),
}
# fmt: on


@refuse(REQUEST_FIELDS)
class RequestFields:
    """Celery's names of what a run knows, where ours differ.  Nothing is computed before it is asked for."""

    __slots__ = ()
    _spoken = "request"

    @property
    def root_id(self) -> str:
        return _run(self).root

    @property
    def parent_id(self) -> str | None:
        return _run(self).parent

    @property
    def correlation_id(self) -> str:
        return _run(self).id

    @property
    def eta(self) -> str | None:
        envelope = _run(self).envelope
        waited = envelope.eta is not None or envelope.delay is not None or _run(self).retries > 0
        return _moment(_run(self).delivery.due) if waited else None

    @property
    def expires(self) -> str | None:
        envelope, delivery = _run(self).envelope, _run(self).delivery
        if envelope.expires is not None:
            return _moment(envelope.expires)
        if envelope.expires_in is not None:
            return _moment(delivery.published + envelope.expires_in)
        return None

    @property
    def hostname(self) -> str:
        return _run(self).delivery.receipt.owner

    @property
    def delivery_info(self) -> Mapping[str, Any]:
        run = _run(self)
        return {
            "exchange": "",
            "routing_key": run.queue,
            "priority": run.envelope.priority,
            "redelivered": run.attempt > 1,
        }

    @property
    def is_eager(self) -> bool:
        return _run(self).delivery.receipt.fence == 0

    @property
    def called_directly(self) -> bool:
        return False

    @property
    def timelimit(self) -> tuple[float | None, float | None]:
        run = _run(self)
        conf, own, sent = run.app.conf, run.task.options, run.envelope
        return (
            sent.time_limit or own.time_limit or conf.time_limit,
            sent.soft_time_limit or own.soft_time_limit or conf.soft_time_limit,
        )

    @property
    def ignore_result(self) -> bool:
        return not _run(self).envelope.keep_result

    @property
    def callbacks(self) -> list[str]:
        return _links(_run(self), "done")

    @property
    def errbacks(self) -> list[str]:
        return _links(_run(self), "failed")

    @property
    def utc(self) -> bool:
        return True

    def get(self, name: str, default: Any = None) -> Any:
        """The field of that name, as Celery's request gives it."""
        return getattr(self, name, default)


def _run(fields: RequestFields) -> RunContext:
    return cast("RunContext", fields)


def _links(run: RunContext, on: str) -> list[str]:
    return [f.envelope.task for ending in run.envelope.on_end if ending.on == on for f in ending.follow_ups]


def _moment(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat()
