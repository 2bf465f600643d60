"""What Celery's app has, as part of ours."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast
from zoneinfo import ZoneInfo

from reliq.compat.names import Name, refuse
from reliq.errors import OptionError

if TYPE_CHECKING:
    from reliq.app import Reliq
    from reliq.results import Handle
    from reliq.tasks import Signature, Task

_FLOW = "workflows are planned"
_SCHEDULE = "schedules are planned"
_ONE_BROKER = "an app has one broker: app.broker"
_CLI = "use the command line"

# fmt: off
APP_NAMES: dict[str, Name] = {
    "task": Name("works"),
    "send_task": Name("works"),
    "tasks": Name("works"),
    "conf": Name("works"),
    "main": Name("works", text="the app's name"),
    "config_from_object": Name("works", text="read at once; Celery's settings in both spellings"),
    "autodiscover_tasks": Name("works", text="imports PACKAGE.tasks where the worker or a command loads the app"),
    "AsyncResult": Name("works", text="a Handle; also app.handle(id)"),
    "signature": Name("works", text="of a registered task, by name"),
    "current_task": Name("works", text="the task that runs here, or None"),
    "timezone": Name("works", text="a ZoneInfo"),
    "now": Name("works", text="aware, in the app's time zone"),
    "gen_task_name": Name("works"),
    "close": Name("works"),
    "clock": Name("works", text="another thing: where the app reads the time"),
    "Task": Name("use", text="subclass reliq.Task and give it as base="),
    "register_task": Name("use", text="decorate a function with @app.task; a class can be its base="),
    "finalize": Name("use", text="an app is ready where it is made; drop the call"),
    "set_current": Name("use", text="shared tasks belong to the running app; drop the call"),
    "set_default": Name("use", text="shared tasks belong to the only app; drop the call"),
    "config_from_envvar": Name("use", text="settings are read from RELIQ_...; or config_from_object(os.environ[NAME])"),
    "config_from_cmdline": Name("use", text="settings are options of `reliq worker`, and RELIQ_..."),
    "add_defaults": Name("use", text="use app.conf.update()"),
    "setup_security": Name("not_yet", text="signing of messages is planned"),
    "connection": Name("use", text=_ONE_BROKER),
    "connection_for_read": Name("use", text=_ONE_BROKER),
    "connection_for_write": Name("use", text=_ONE_BROKER),
    "connection_or_acquire": Name("use", text=_ONE_BROKER),
    "producer_or_acquire": Name("use", text=_ONE_BROKER),
    "producer_pool": Name("use", text=_ONE_BROKER),
    "pool": Name("use", text=_ONE_BROKER),
    "amqp": Name("use", text="queues need no declaration; app.broker is the broker"),
    "backend": Name("use", text="results are in the broker: app.broker"),
    "start": Name("use", text=f"{_CLI}: reliq"),
    "worker_main": Name("use", text=f"{_CLI}: reliq worker"),
    "Worker": Name("use", text=f"{_CLI}: reliq worker"),
    "WorkController": Name("use", text=f"{_CLI}: reliq worker"),
    "bugreport": Name("use", text=f"{_CLI}: reliq doctor"),
    "current_worker_task": Name("use", text="use app.current_task or reliq.current()"),
    "steps": Name("use", text="use Middleware.startup, shutdown and services"),
    "user_options": Name("use", text="use settings, or RELIQ_... in the environment"),
    "loader": Name("use", text="`-A` finds the app; see the setting imports"),
    "log": Name("use", text="use the settings log_level and log_format"),
    "oid": Name("use", text="owners are named by the worker: request.hostname"),
    "thread_oid": Name("use", text="owners are named by the worker: request.hostname"),
    "uses_utc_timezone": Name("use", text="every moment is kept in UTC"),
    "subclass_with_self": Name("use", text="use a plain subclass"),
    "select_queues": Name("use", text="reliq worker -Q a,b"),
    "on_configure": Name("use", text="set the configuration where the app is made"),
    "on_after_configure": Name("not_yet", text=f"{_SCHEDULE}; other code can follow where the app is made"),
    "on_after_finalize": Name("not_yet", text=f"{_SCHEDULE}; other code can follow where the app is made"),
    "on_after_fork": Name("use", text="use the signal worker_process_init; the broker is reopened in a fork"),
    "on_init": Name("use", text="write it where the app is made"),
    "add_periodic_task": Name("not_yet", text=_SCHEDULE),
    "Beat": Name("not_yet", text=_SCHEDULE),
    "control": Name("not_yet", text="remote control is planned; see `reliq status`, `reliq cancel`, handle.revoke()"),
    "events": Name("not_yet", text="events are planned; see signals and middleware"),
    "GroupResult": Name("not_yet", text=_FLOW),
    "ResultSet": Name("not_yet", text=_FLOW),
    "canvas": Name("not_yet", text=_FLOW),
    "annotations": Name("not_yet", text="give the options where the task is defined"),
}
# fmt: on


@refuse(APP_NAMES)
class AppNames:
    """Celery's names of an app's methods, where ours differ."""

    _spoken = "app"
    _undiscovered: list[tuple[Iterable[str] | Callable[[], Iterable[str]], str | None]]

    @property
    def main(self) -> str:
        return _app(self).name

    def AsyncResult(self, id: str) -> Handle[Any]:
        """The handle of any message of this broker, by id."""
        return _app(self).handle(id)

    def signature(
        self, task: str, args: Any = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Signature:
        """A call of a task, by its name, to be made later."""
        return _app(self).find_task(task).signature(args, kwargs, **options)

    def config_from_object(
        self, obj: Any, silent: bool = False, force: bool = False, namespace: str | None = None
    ) -> None:
        """Read settings from a module, its name, an object or a mapping, in our spelling or one of Celery's.

        namespace  only names with this prefix count: `CELERY` reads CELERY_TASK_ROUTES
        force      read now, which is always so
        """
        if silent:
            raise OptionError("config_from_object(silent=True): a configuration that is missing is an error")
        _app(self).conf.read(obj, namespace=namespace)

    def autodiscover_tasks(
        self,
        packages: Iterable[str] | Callable[[], Iterable[str]] | None = None,
        related_name: str | None = "tasks",
        force: bool = False,
    ) -> None:
        """Import `PACKAGE.tasks` of each package that has one, when the app's tasks are imported.

        force  now, and not when a worker or a command loads the app
        """
        if packages is None:
            raise OptionError(
                "autodiscover_tasks() takes the packages here: autodiscover_tasks(['shop', 'mail']); in a Django "
                "project autodiscover_tasks(lambda: [c.name for c in django.apps.apps.get_app_configs()])"
            )
        found = packages if callable(packages) else list(packages)
        if force:
            _discover(found, related_name)
        else:
            self._undiscovered.append((found, related_name))

    def _discover_all(self) -> None:
        while self._undiscovered:
            _discover(*self._undiscovered.pop(0))

    @property
    def current_task(self) -> Task[..., Any] | None:
        """The task that runs here; None outside of one."""
        from reliq.context import _current

        ctx = _current.get()
        return None if ctx is None else ctx.task

    @property
    def timezone(self) -> ZoneInfo:
        return ZoneInfo(_app(self).conf.timezone)

    def now(self) -> datetime:
        """This moment by the app's clock, aware, in the app's time zone."""
        return datetime.fromtimestamp(_app(self).clock.now_ms() / 1000, UTC).astimezone(self.timezone)

    def gen_task_name(self, name: str, module: str) -> str:
        """How a task is called that says no name of its own."""
        return f"{module}.{name}"


def _app(names: AppNames) -> Reliq:
    return cast("Reliq", names)


def _discover(packages: Iterable[str] | Callable[[], Iterable[str]], related_name: str | None) -> None:
    for package in packages() if callable(packages) else packages:
        module = importlib.import_module(package)
        if related_name is None:
            continue
        name = f"{package}.{related_name}"
        if hasattr(module, "__path__") and importlib.util.find_spec(name) is not None:
            importlib.import_module(name)
