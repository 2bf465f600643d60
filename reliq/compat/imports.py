"""Where the names that one imports from Celery are here."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from reliq.compat.names import Name

_FLOW = "workflows are planned"
_SCHEDULE = "schedules are planned"

# fmt: off
IMPORTS: dict[str, Name] = {
    "celery.Celery": Name("works", "reliq.Reliq"),
    "celery.shared_task": Name("works", "reliq.task"),
    "celery.Task": Name("works", "reliq.Task"),
    "celery.signature": Name("works", "reliq.Signature", text="made by task.s() or task.signature()"),
    "celery.current_app": Name("works", "reliq.app.current_app", text="a function"),
    "celery.current_task": Name("works", "reliq.current", text="a function: the context of the run"),
    "celery.app.task.Task": Name("works", "reliq.Task"),
    "celery.app.task.Context": Name("works", "reliq.RunContext"),
    "celery.canvas.Signature": Name("works", "reliq.Signature"),
    "celery.result.AsyncResult": Name("works", "reliq.Handle", text="made by app.AsyncResult(id)"),
    "celery.result.EagerResult": Name("works", "reliq.eager.EagerResult"),
    "celery.signals": Name("works", "reliq.signals"),
    "celery.utils.log.get_task_logger": Name("works", "reliq.get_task_logger"),
    "celery.exceptions.CeleryError": Name("works", "reliq.errors.ReliqError"),
    "celery.exceptions.Retry": Name("works", "reliq.Retry"),
    "celery.exceptions.Ignore": Name("works", "reliq.Drop", text="raise Drop('why')"),
    "celery.exceptions.SoftTimeLimitExceeded": Name("works", "reliq.errors.SoftTimeLimitExceeded"),
    "celery.exceptions.TimeLimitExceeded": Name("works", "reliq.errors.TimeLimitExceeded"),
    "celery.exceptions.TimeoutError": Name("works", "reliq.errors.ResultTimeout"),
    "celery.exceptions.TaskRevokedError": Name("works", "reliq.errors.TaskDropped"),
    "celery.exceptions.NotRegistered": Name("works", "reliq.errors.UnknownTask"),
    "celery.exceptions.ImproperlyConfigured": Name("works", "reliq.errors.ConfigError"),
    "celery.exceptions.OperationalError": Name("works", "reliq.errors.BrokerError"),
    "kombu.exceptions.OperationalError": Name("works", "reliq.errors.BrokerError"),
    "celery.exceptions.Reject": Name("use", text="raise reliq.Fail('why'), or reliq.Retry() to run it again"),
    "celery.exceptions.MaxRetriesExceededError": Name("use", text="the task's own error is raised: retry(exc=...)"),
    "celery.exceptions.WorkerLostError": Name("use", text="such a message runs again; see max_crashes"),
    "celery.exceptions.AlreadyRegistered": Name("use", text="two tasks of one name are a ReliqError"),
    "celery.exceptions.QueueNotFound": Name("use", text="queues need no declaration"),
    "celery.exceptions.BackendError": Name("use", text="results are in the broker: reliq.errors.BrokerError"),
    "celery.states": Name("use", text="states are texts: handle.state == 'SUCCESS'"),
    "celery.contrib.pytest": Name("use", text="use reliq.testing and its pytest plug-in"),
    "celery.contrib.testing": Name("use", text="use reliq.testing"),
    "celery.contrib.abortable": Name("use", text="handle.revoke(terminate=True) raises TaskCancelled in the task"),
    "celery.contrib.rdb": Name("not_yet", text="a remote debugger is planned"),
    "celery.contrib.migrate": Name("use", text="`reliq dlq`, and broker.move for operators"),
    "celery.bootsteps": Name("use", text="use Middleware.startup, shutdown and services"),
    "celery.backends": Name("use", text="results are kept by the broker"),
    "celery.loaders": Name("use", text="`-A` finds the app"),
    "kombu.Queue": Name("use", text="queues need no declaration: queue='name'"),
    "kombu.Exchange": Name("use", text="queues need no declaration: queue='name'"),
    "celery.chain": Name("not_yet", text=f"{_FLOW}; use apply_async(link=other.s())"),
    "celery.group": Name("not_yet", text=f"{_FLOW}; use app.publish_many(task, calls)"),
    "celery.chord": Name("not_yet", text=_FLOW),
    "celery.chunks": Name("not_yet", text=f"{_FLOW}; use app.publish_many(task, calls)"),
    "celery.xmap": Name("not_yet", text=_FLOW),
    "celery.xstarmap": Name("not_yet", text=_FLOW),
    "celery.result.GroupResult": Name("not_yet", text=_FLOW),
    "celery.result.ResultSet": Name("not_yet", text=_FLOW),
    "celery.exceptions.ChordError": Name("not_yet", text=_FLOW),
    "celery.schedules.crontab": Name("not_yet", text=_SCHEDULE),
    "celery.schedules.schedule": Name("not_yet", text=_SCHEDULE),
    "celery.schedules.solar": Name("not_yet", text=_SCHEDULE),
    "celery.beat": Name("not_yet", text=_SCHEDULE),
    "celery.events": Name("not_yet", text="events are planned"),
    "celery.app.control": Name("not_yet", text="remote control is planned"),
}
# fmt: on


def in_place_of(name: str, ours: Sequence[str]) -> str | None:
    """What to write instead of `from reliq import NAME`: for a name of Celery's, or one like those in `ours`."""
    path = next((path for path in IMPORTS if path.rpartition(".")[2] == name), None)
    if path is None:
        near = difflib.get_close_matches(name, ours, n=1)
        return f"did you mean {near[0]!r}?" if near else None
    entry = IMPORTS[path]
    if entry.status != "works":
        return entry.answer(path)
    module, _, attribute = entry.to.rpartition(".")
    more = f" ({entry.text})" if entry.text else ""
    return f"{path} is {entry.to} here: from {module} import {attribute}{more}"
