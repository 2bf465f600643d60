"""What Celery's Task has, and what a class given as `base=` may say and override."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from reliq.compat.names import Name, refuse
from reliq.compat.options import TASK_OPTIONS
from reliq.errors import OptionError

if TYPE_CHECKING:
    from reliq.tasks import Signature, Task

_FLOW = "workflows are planned"

# fmt: off
TASK_NAMES: dict[str, Name] = {
    "name": Name("works"),
    "app": Name("works"),
    "delay": Name("works"),
    "apply_async": Name("works"),
    "apply": Name("works", text="runs the function here, with its retries but without waits, middleware or record"),
    "s": Name("works"),
    "si": Name("works"),
    "signature": Name("works"),
    "subtask": Name("works", text="the old name of signature"),
    "retry": Name("works", text="moves the same message; args= and kwargs= are refused"),
    "request": Name("works", text="inside a run; elsewhere an error"),
    "run": Name("works", text="the function; to define one, decorate it"),
    "AsyncResult": Name("works"),
    "max_retries": Name("works"),
    "autoretry_for": Name("works", "retry_on"),
    "throws": Name("works"),
    "time_limit": Name("works"),
    "soft_time_limit": Name("works"),
    "ignore_result": Name("works"),
    "expires": Name("works"),
    "queue": Name("works"),
    "priority": Name("works"),
    "before_start": Name("works", text="a base's method, called before the function; its error is the run's"),
    "on_success": Name("works", text="a base's method, called in the task's process before the broker hears of it"),
    "on_failure": Name("works", text="the same; not for a message that ended without its task (expired, crashed)"),
    "on_retry": Name("works", text="the same"),
    "after_return": Name("works", text="the same, after success and failure"),
    "backend": Name("use", text="results are in the broker: app.broker"),
    "request_stack": Name("use", text="use reliq.current()"),
    "push_request": Name("use", text="use reliq.testing to run a task with a request"),
    "pop_request": Name("use", text="use reliq.testing to run a task with a request"),
    "signature_from_request": Name("use", text="publish a new message with delay()"),
    "subtask_from_request": Name("use", text="publish a new message with delay()"),
    "send_event": Name("not_yet", text="events are planned; write to the log meanwhile"),
    "update_state": Name("not_yet", text="progress is planned; keep it in your own database meanwhile"),
    "add_trail": Name("use", text="each message records its parent"),
    "annotate": Name("use", text="give the options where the task is defined"),
    "from_config": Name("use", text="settings are in app.conf"),
    "Strategy": Name("use", text="use middleware"),
    "start_strategy": Name("use", text="use middleware"),
    "Request": Name("use", text="use middleware: prerun, around, failure"),
    "shadow_name": Name("not_yet", text="a display name per call is planned"),
    "on_bound": Name("use", text="use Middleware.bind, or __init__"),
    "add_around": Name("use", text="use Middleware.around"),
    "on_replace": Name("not_yet", text=_FLOW),
    "replace": Name("not_yet", text=f"{_FLOW}; publish the other task with delay() meanwhile"),
    "add_to_chord": Name("not_yet", text=_FLOW),
    "chunks": Name("not_yet", text=f"{_FLOW}; use app.publish_many(task, calls)"),
    "map": Name("not_yet", text=f"{_FLOW}; use app.publish_many(task, calls)"),
    "starmap": Name("not_yet", text=f"{_FLOW}; use app.publish_many(task, calls)"),
}

# Options are attributes in Celery: here they are given where the task is defined, and stand in `task.options`.
_ATTRIBUTES = {
    name: Name("use", text="give it as an option of @app.task") if entry.status == "works" else entry
    for name, entry in TASK_OPTIONS.items()
    if name not in TASK_NAMES
}

# What a base overrides in Celery, and what does it here.
OVERRIDES: dict[str, str] = {
    "apply_async": "not every publish goes through it; use Middleware.publish",
    "delay": "not every publish goes through it; use Middleware.publish",
    "adelay": "not every publish goes through it; use Middleware.publish",
    "using": "not every publish goes through it; use Middleware.publish",
    "apply": "use Middleware.around",
    "run": "decorate the function, or override __call__",
    "retry": "use Middleware.settling, or on_retry",
    "request": "use Middleware.prerun",
    "s": "a link is published by the broker; use Middleware.publish",
    "si": "a link is published by the broker; use Middleware.publish",
    "signature": "a link is published by the broker; use Middleware.publish",
    "subtask": "a link is published by the broker; use Middleware.publish",
    "AsyncResult": "use app.handle(id)",
}
# fmt: on

HANDLERS = ("before_start", "on_success", "on_failure", "on_retry", "after_return")


@refuse({**TASK_NAMES, **_ATTRIBUTES})
class TaskNames:
    """Celery's names of a task's methods and attributes, where ours differ."""

    _spoken = "task"

    def apply(
        self, args: Any = (), kwargs: Mapping[str, Any] | None = None, *, throw: bool = False, **options: Any
    ) -> Any:
        """Run it here and now, without a broker: no middleware, no record; retries follow at once.

        throw  raise the task's error instead of giving a result that has it
        """
        from reliq.eager import run_eagerly

        return run_eagerly(_task(self), tuple(args), dict(kwargs or {}), options, throw=throw)

    def signature(self, args: Any = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Signature:
        """A call to be made later, with options; `immutable=True` takes no result of a parent."""
        immutable = options.pop("immutable", False)
        made = (_task(self).si if immutable else _task(self).s)(*args, **(kwargs or {}))
        return made.set(**options) if options else made

    def subtask(self, args: Any = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Signature:
        """Celery's old name of `signature`."""
        return self.signature(args, kwargs, **options)

    def AsyncResult(self, task_id: str) -> Any:
        """The handle of a message of this task."""
        from reliq.results import Handle

        return Handle(_task(self).app, task_id, _task(self))

    @property
    def run(self) -> Callable[..., Any]:
        """The function."""
        task = _task(self)
        return task.func.__get__(task) if task.options.bind else task.func

    @property
    def autoretry_for(self) -> tuple[type[BaseException], ...]:
        return _task(self).retry_on

    @property
    def throws(self) -> tuple[type[BaseException], ...]:
        return _task(self).options.throws

    @property
    def time_limit(self) -> float | None:
        return _task(self).options.time_limit or _task(self).app.conf.time_limit

    @property
    def soft_time_limit(self) -> float | None:
        return _task(self).options.soft_time_limit or _task(self).app.conf.soft_time_limit

    @property
    def expires(self) -> float | None:
        return _task(self).options.expires

    @property
    def ignore_result(self) -> bool:
        return _task(self).app.defaults(_task(self)).ignore_result

    @property
    def priority(self) -> int:
        return _task(self).app.defaults(_task(self)).priority

    # --- handlers: a base overrides them ---

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Called before the function."""

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        """Called when it ended done."""

    def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called when it ended failed."""

    def on_retry(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called when it is going to run again."""

    def after_return(
        self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any
    ) -> None:
        """Called when it ended done or failed."""


def _task(names: TaskNames) -> Task[..., Any]:
    return cast("Task[..., Any]", names)


def read_base(cls: type, options: Iterable[str]) -> dict[str, Any]:
    """What the body of a base class says as options, taken out of it; `OptionError` for what it cannot override."""
    found: dict[str, Any] = {}
    for name, value in list(vars(cls).items()):
        if name in HANDLERS:
            if inspect.iscoroutinefunction(value):
                raise OptionError(f"{cls.__name__}.{name} is `async def`; handlers are plain functions")
        elif name in OVERRIDES:
            raise OptionError(f"{cls.__name__} overrides {name}: {OVERRIDES[name]}")
        elif name == "name":
            raise OptionError(f"{cls.__name__}.name: a base serves many tasks; name each where it is defined")
        elif name in TASK_NAMES and TASK_NAMES[name].status != "works":
            raise OptionError(TASK_NAMES[name].answer(f"{cls.__name__}.{name}"))
        elif name in options:
            found[name] = value
            delattr(cls, name)
    return found


def has_handlers(cls: type) -> bool:
    """Whether the class overrides a handler."""
    return any(getattr(cls, name) is not getattr(TaskNames, name) for name in HANDLERS)
