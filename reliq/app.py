"""The app: one name, one broker, a list of middleware and the tasks that use them."""

from __future__ import annotations

import difflib
import inspect
import os
import threading
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar, overload

import msgspec

from reliq import counting, observers, signals
from reliq import tasks as _tasks
from reliq.calls import normalise
from reliq.compat.apps import AppNames
from reliq.config import Config
from reliq.errors import ConfigError, ConfigFrozen, OptionError, ReliqError, UnknownTask
from reliq.middleware import Middleware, Observer
from reliq.plugins import load_middleware, open_engine
from reliq.policy.chain import Chain
from reliq.policy.clock import Clock, SystemClock
from reliq.publishing import Publisher
from reliq.results import Handle
from reliq.tasks import Task, name_of
from reliq.wire.typed import CompiledSignature, compile_signature

if TYPE_CHECKING:
    from reliq.ports.broker import Engine

__all__ = ["Reliq", "current_app"]

P = ParamSpec("P")
R = TypeVar("R")

_apps: weakref.WeakSet[Reliq] = weakref.WeakSet()


def _after_fork() -> None:
    # Another thread of the parent may have held the lock; in the child nobody would ever release it.
    for app in list(_apps):
        app._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _rebuild_chains() -> None:
    for app in list(_apps):
        for task in list(app._own.values()):
            task._chain = None


signals.changed.append(_rebuild_chains)


def current_app() -> Reliq:
    """The app that shared tasks belong to here: that of the running task, else the only one there is."""
    from reliq.context import _current

    ctx = _current.get()
    if ctx is not None:
        return ctx.app
    apps = list(_apps)
    if len(apps) == 1:
        return apps[0]
    if not apps:
        raise ReliqError("A shared task was used, but there is no app; create one: app = Reliq('name')")
    names = ", ".join(sorted(a.name for a in apps))
    raise ReliqError(
        f"A shared task was used, but there are several apps ({names}); call app.tasks[NAME].delay(...)"
    )


class Defaults(msgspec.Struct, frozen=True):
    """What the envelopes of one task have in common."""

    queue: str
    priority: int
    ignore_result: bool
    expires_in: int | None
    max_crashes: int
    keep: int
    keep_ignored: int
    keep_failed: int
    max_message: int


class Reliq(AppNames):
    """A task queue application.

    broker      URL of the broker; default: a SQLite file in the user's state folder
    middleware  instances, or names for files and environment; index 0 is outermost
    settings    any setting of `reliq config`, by its name
    """

    def __init__(
        self,
        name: str,
        *,
        broker: str | None = None,
        middleware: Sequence[Middleware | str | Mapping[str, Any]] | None = None,
        clock: Clock | None = None,
        **settings: Any,
    ) -> None:
        if not isinstance(name, str) or not name:  # type: ignore[redundant-expr]
            raise ConfigError(f"An app needs a name, got {name!r}: Reliq('shop')")
        self.name = name
        given: dict[str, Any] = dict(settings)
        if broker is not None:
            given["broker"] = broker
        if middleware is not None:
            given["middleware"] = middleware
        self.conf = Config(name, given)
        self.clock: Clock = SystemClock() if clock is None else clock
        self.publisher = Publisher(self)
        self._middleware: tuple[Middleware, ...] | None = None
        self._middleware_of: tuple[Any, ...] | None = None
        self._brought: list[Middleware] = []  # bound ones that came with the base of a task
        self._own: dict[str, Task[..., Any]] = {}
        self._undiscovered = []
        self._defaults: dict[str, Defaults] = {}
        self._defaults_of = 0  # the revision of the settings they were made from
        self._engine: Engine | None = None
        self._engine_pid = 0
        self._judged: Engine | None = None  # the broker of which `is_engine` tells
        self._is_engine = False
        self._inherited: list[Engine] = []  # of a parent process: kept, lest their end disturb the parent's
        self._lock = threading.RLock()
        self._untyped: CompiledSignature | None = None
        _apps.add(self)

    # --- tasks ---

    @overload
    def task(self, func: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(
        self, func: None = None, /, *, bind: Literal[True], **options: Any
    ) -> Callable[[Callable[Concatenate[Any, P], R]], Task[P, R]]: ...
    @overload
    def task(self, func: None = None, /, **options: Any) -> Callable[[Callable[P, R]], Task[P, R]]: ...
    def task(self, func: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """Register a function as a task, with its options; refuses misspelt options here and now."""

        def register(func: Callable[..., Any]) -> Task[..., Any]:
            return self._register(func, options)

        return register if func is None else register(func)

    def _register(self, func: Callable[..., Any], options: Mapping[str, Any]) -> Task[..., Any]:
        if not callable(func):
            raise ReliqError(f"@task decorates a function, got {func!r}")
        if inspect.isgeneratorfunction(func) or inspect.isasyncgenfunction(func):
            raise ReliqError(
                f"@task decorates a function, and {func.__qualname__} is a generator: calling it runs nothing; "
                "return a list, or publish one task for each item"
            )
        base = options.get("base") or Task
        if not (isinstance(base, type) and issubclass(base, Task)):
            raise ReliqError(f"base= takes a subclass of reliq.Task, got {base!r}")
        name = options.get("name") or name_of(func)
        _tasks.check_name(name, self._own.get(name), func)
        task: Task[..., Any] = base(self, func, name, options)
        self._own[name] = task
        self._defaults.pop(name, None)
        return task

    @property
    def tasks(self) -> Mapping[str, Task[..., Any]]:
        """All tasks by name, with those of `reliq.task`."""
        missing = _tasks.shared.keys() - self._own.keys()
        for name in sorted(missing):
            definition = _tasks.shared[name]
            self._register(definition.func, {**definition.options, "name": name})
        return self._own

    def find_task(self, name: str) -> Task[..., Any]:
        """The task of that name; `UnknownTask` names the nearest."""
        task = self._own.get(name) or self.tasks.get(name)
        if task is None:
            raise self.unknown_task(name)
        return task

    def unknown_task(self, name: str) -> UnknownTask:
        """The error that names the nearest task."""
        names = sorted(self.tasks)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        if not near:
            near = [n for n in names if n.rpartition(".")[2] == name.rpartition(".")[2]][:1]
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names) or 'none'}"
        return UnknownTask(f"No task {name!r}; {hint}", name=name, nearest=near[0] if near else None)

    def import_tasks(self) -> None:
        """Import the modules of the setting `imports` and of `autodiscover_tasks`, so that their tasks are known."""
        import importlib

        for module in self.conf.imports:
            importlib.import_module(module)
        self._discover_all()

    # --- publishing ---

    def send_task(
        self, name: str, args: Sequence[Any] | None = (), kwargs: dict[str, Any] | None = None, **options: Any
    ) -> Handle[Any]:
        """Publish by name; a task that is not registered here is sent without a check of its arguments."""
        task = self.tasks.get(name)
        if task is None:
            task = _Elsewhere(self, _anything, name, {})
        args, kwargs = _tasks.call_of(args, kwargs)
        return self.publisher.one(task, args, kwargs, self.call_options(task, options))

    def publish_many(
        self, task: Task[P, R], calls: Iterable[tuple[Any, ...] | dict[str, Any]], **options: Any
    ) -> list[Handle[R] | Exception]:
        """Publish many calls of one task in one step: tuples of positional or dicts of keyword arguments.

        A handle for each, or the error for those that were refused, in order; the options are for all of them.
        An outage of the broker raises, as `delay` does.
        """
        task = getattr(task, "bound", lambda: task)()
        call = self.call_options(task, options) if options else None
        if call and "id" in call:
            raise ReliqError("publish_many: one task_id cannot be for many messages")
        return self.publisher.many([(task, *_call_of(c), call) for c in calls])

    def call_options(self, task: Task[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
        """Call options checked and in the form an envelope needs."""
        return normalise(self, task, options)

    def handle(self, id: str) -> Handle[Any]:
        """The handle of any message of this broker, by id."""
        return Handle(self, id)

    # --- middleware and routes ---

    @property
    def middleware(self) -> tuple[Middleware, ...]:
        """The app's middleware, outermost first; loaded and bound at first use."""
        if self._middleware is None:
            with self._lock:
                if self._middleware is None:
                    loaded = tuple(load_middleware(m) for m in self.conf.middleware)
                    for m in loaded:
                        m.bind(self)
                    self._middleware_of = self.conf.middleware
                    self._middleware = loaded
        return self._middleware

    def chain_members(self, task: Task[..., Any]) -> tuple[Middleware, ...]:
        """The app's middleware and, innermost, what the task's base brings and the app does not have."""
        names = {m.name for m in self.middleware}
        brought = tuple(m for m in type(task).middleware if m.name not in names)
        for m in brought:
            if not any(m is bound for bound in self._brought):
                m.bind(self)
                self._brought.append(m)
        return self.middleware + brought + observers.for_tasks()

    @property
    def all_middleware(self) -> tuple[Middleware, ...]:
        """The app's middleware and what the bases of its tasks brought: all that is to be started and stopped."""
        for task in self.tasks.values():
            self.chain_members(task)
        return self.middleware + tuple(self._brought) + observers.for_workers(self)

    def options_of(self, task: Task[..., Any]) -> frozenset[str]:
        """The option names that the middleware of this task own."""
        return frozenset().union(*(m.options for m in self.chain_members(task)))

    def build_chain(self, task: Task[..., Any]) -> Chain:
        """The task's effective chain; `OptionError` when its order is wrong."""
        return Chain(self.chain_members(task), base=Middleware, observer=Observer)

    def route(self, task: Task[..., Any]) -> str:
        """The queue of a task: its own option, else the first route whose pattern fits, else the default queue."""
        return self.defaults(task).queue

    def defaults(self, task: Task[..., Any]) -> Defaults:
        """What every envelope of this task carries."""
        if self._defaults_of != self.conf.revision:
            self._defaults, self._defaults_of = {}, self.conf.revision
        found = self._defaults.get(task.name)
        if found is None:
            found = self._build_defaults(task)
            if type(task) is not _Elsewhere:
                self._defaults[task.name] = found
        return found

    def _build_defaults(self, task: Task[..., Any]) -> Defaults:
        conf, own = self.conf, task.options
        if task.name.startswith("__main__.") and self.broker.capabilities.shared:
            warnings.warn(
                f"{task.name!r} was defined at a prompt or with python -c: no worker can import it, so what is "
                "published waits until it fails. Put the function into a module",
                stacklevel=2,
            )
        routed = _routed(conf.routes, task.name)
        ttl = own.result_ttl if own.result_ttl is not None else conf.result_ttl
        dead = own.dead_letter_ttl if own.dead_letter_ttl is not None else conf.dead_letter_ttl
        priority = own.priority if own.priority is not None else routed.get("priority", conf.default_priority)
        return Defaults(
            queue=own.queue or routed.get("queue") or conf.default_queue,
            priority=priority,
            ignore_result=conf.ignore_result if own.ignore_result is None else own.ignore_result,
            expires_in=None if own.expires is None else int(own.expires * 1000),
            max_crashes=own.max_crashes or conf.max_crashes,
            keep=int(ttl * 1000),
            keep_ignored=int(min(ttl, conf.keep_done) * 1000),
            keep_failed=int(dead * 1000),
            max_message=conf.max_message,
        )

    @property
    def untyped(self) -> CompiledSignature:
        """A signature that takes anything JSON carries unchanged: for tasks defined elsewhere."""
        if self._untyped is None:
            self._untyped = compile_signature(_anything)
        return self._untyped

    # --- the broker ---

    @property
    def broker(self) -> Engine:
        """The broker, opened at first use in each process: a connection never crosses a fork."""
        if self._engine is not None and self._engine_pid == os.getpid():
            return self._engine
        with self._lock:
            if self._engine is None or self._engine_pid != os.getpid():
                if self._engine is not None:
                    self._inherited.append(self._engine)
                self._freeze()
                self._engine = open_engine(self.conf.broker, app=self.name, clock=self.clock)
                self._engine_pid = os.getpid()
            return self._engine

    @property
    def is_engine(self) -> bool:
        """Whether records and messages move in one step on this app's broker, which is opened for that."""
        broker = self.broker
        if broker is not self._judged:
            self._is_engine = broker.capabilities.engine
            self._judged = broker
        return self._is_engine

    @property
    def is_connected(self) -> bool:
        """Whether this process has opened the broker, and not closed it."""
        return self._engine is not None and self._engine_pid == os.getpid()

    def use_engine(self, engine: Engine, clock: Clock) -> Callable[[], None]:
        """Let the app use this engine and clock, for tests; the function that undoes it."""
        self._refuse_late_middleware()
        before = (self._engine, self._engine_pid, self.clock)
        self._engine, self._engine_pid, self.clock = engine, os.getpid(), clock

        def undo() -> None:
            self._engine, self._engine_pid, self.clock = before

        return undo

    def _freeze(self) -> None:
        self._refuse_late_middleware()
        self.conf.freeze("the broker was opened")

    def _refuse_late_middleware(self) -> None:
        loaded = self._middleware_of
        if loaded is not None and loaded != self.conf.middleware:
            raise ConfigFrozen(
                "The setting middleware was changed after tasks were defined with it; set it where the app is made"
            )

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        if self.is_connected:
            counting.write_all(self)
        with self._lock:
            engine, self._engine = self._engine, None
            self._judged = None
            if engine is not None and self._engine_pid != os.getpid():
                self._inherited.append(engine)
                return
        if engine is not None:
            engine.close()

    def __repr__(self) -> str:
        return f"<Reliq {self.name!r}>"


def _call_of(call: object) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The positional and the keyword arguments of one call of many."""
    if isinstance(call, dict):
        return (), call
    if isinstance(call, tuple | list):
        return tuple(call), {}
    raise OptionError(
        f"publish_many takes tuples of positional or dicts of keyword arguments, got {call!r}; "
        "a single argument is a tuple of one: (value,)"
    )


def _anything(*args: Any, **kwargs: Any) -> None:
    """The signature of a task that is defined elsewhere."""


class _Elsewhere(Task[..., Any]):
    """A task known by name only."""


def _routed(routes: Mapping[str, Any], name: str) -> dict[str, Any]:
    from fnmatch import fnmatchcase

    for pattern, target in routes.items():
        if fnmatchcase(name, pattern):
            return {"queue": target} if isinstance(target, str) else dict(target)
    return {}


def iter_apps() -> Iterator[Reliq]:
    """Every app alive in this process."""
    return iter(list(_apps))
