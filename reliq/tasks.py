"""Tasks: a function under a name, with its options, and the ways to call it."""

from __future__ import annotations

import asyncio
import inspect
import random
import sys
from collections.abc import Callable, Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    Never,
    ParamSpec,
    TypeVar,
    cast,
    overload,
)

from reliq.compat import CALL_OPTIONS, TASK_OPTIONS, translate
from reliq.compat.signatures import SignatureNames
from reliq.compat.tasks import TaskNames, has_handlers, read_base
from reliq.errors import OptionError, ReliqError
from reliq.handlers import Handlers
from reliq.options import TaskOptions
from reliq.policy.backoff import Backoff
from reliq.verdicts import Fail, Retry
from reliq.wire.typed import CompiledSignature, compile_signature

if TYPE_CHECKING:
    from reliq.app import Reliq
    from reliq.context import RunContext
    from reliq.middleware import Middleware
    from reliq.policy.chain import Chain
    from reliq.results import Handle

__all__ = ["Call", "Signature", "Task", "task"]

P = ParamSpec("P")
R = TypeVar("R")
_BACKOFF = Backoff()
_random = random.Random()
_HANDLERS = Handlers()
_OPTION_NAMES = (TaskOptions.names() | TASK_OPTIONS.keys()) - {"name", "base"}


class Task(TaskNames, Generic[P, R]):
    """A registered function.  Calling it runs it here and now; `delay` and `apply_async` put it into its queue.

    A subclass given as `base=` may bring `middleware` of its own, which stands innermost in the task's chain, options
    as class attributes, and Celery's handlers (`on_failure`, ...).
    """

    middleware: tuple[Middleware, ...] = ()
    _base_options: Mapping[str, Any] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = read_base(cls, _OPTION_NAMES)
        inherited = [vars(c).get("_base_options", {}) for c in reversed(cls.__mro__[1:])]
        cls._base_options = {k: v for options in (*inherited, own) for k, v in options.items()}
        if has_handlers(cls) and not any(isinstance(m, Handlers) for m in cls.middleware):
            cls.middleware = (*cls.middleware, _HANDLERS)

    def __init__(self, app: Reliq, func: Callable[..., Any], name: str, options: Mapping[str, Any]) -> None:
        self.app = app
        self.func = func
        self.execution = execution_of(func)
        self.name = name
        self.__name__ = getattr(func, "__name__", name)
        self.__doc__ = func.__doc__
        self.__wrapped__ = func
        self.is_async = inspect.iscoroutinefunction(func) or (
            not inspect.isroutine(func) and inspect.iscoroutinefunction(getattr(func, "__call__", None))  # noqa: B004
        )
        self._signature: CompiledSignature | None = None
        self._chain: Chain | None = None
        owned = app.options_of(self)
        own = {name: getattr(type(self), name) for name in owned if hasattr(type(self), name)}
        options = {**self._base_options, **own, **options}
        translated = translate(options, TASK_OPTIONS, {*TaskOptions.names(), *owned}, where=f"Task {name!r}")
        self.middleware_options: dict[str, Any] = {
            k: translated.pop(k) for k in list(translated) if k in owned
        }
        self.options = TaskOptions.build(translated, where=f"Task {name!r}")
        for m in app.chain_members(self):
            mine = {k: v for k, v in self.middleware_options.items() if k in m.options}
            m.check_options(self, mine)

    # --- what others ask of it ---

    @property
    def compiled(self) -> CompiledSignature:
        """The compiled signature; type hints are resolved at first use, when all modules are loaded."""
        if self._signature is None:
            self._signature = compile_signature(self.func, bind=self.options.bind, name=self.name)
        return self._signature

    @property
    def chain(self) -> Chain:
        """The effective middleware, outermost first."""
        if self._chain is None:
            self._chain = self.app.build_chain(self)
        return self._chain

    @property
    def queue(self) -> str:
        return self.app.route(self)

    @property
    def max_retries(self) -> int | None:
        if self.options.retry_with is not None:
            return None  # the policy's own `stop` bounds it
        own = self.options.max_retries
        return self.app.conf.max_retries if own is ... else own

    @property
    def retry_on(self) -> tuple[type[BaseException], ...]:
        own = self.options.retry_on
        return tuple(self.app.conf.retry_on) if own is None else own

    @property
    def dont_retry_on(self) -> tuple[type[BaseException], ...]:
        return self.options.dont_retry_on

    def delay_for(self, retries: int, rng: random.Random | None = None) -> float:
        """Seconds until the next retry after `retries` earlier ones, by the task's back-off."""
        return (self.options.backoff or _BACKOFF).delay(retries, rng or _random)

    # --- calling it ---

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if self.options.bind:
            return cast(R, self.func(self, *args, **kwargs))
        return cast(R, self.func(*args, **kwargs))

    @property
    def is_called_directly(self) -> bool:
        """Whether calling the task is calling its function, and nothing more."""
        return type(self).__call__ is Task.__call__ and not self.options.bind

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Put a call into the task's queue; `Handle` of it."""
        return self.app.publisher.one(self, args, kwargs, None)

    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """`delay` for async code: the publish runs in a thread."""
        return await asyncio.to_thread(self.app.publisher.one, self, args, kwargs, None)

    def apply_async(
        self,
        args: tuple[Any, ...] | list[Any] | None = (),
        kwargs: dict[str, Any] | None = None,
        **options: Any,
    ) -> Handle[R]:
        """Celery's form of a call with options: countdown, eta, expires, queue, task_id, link, ..."""
        args, kwargs = call_of(args, kwargs)
        return self.app.publisher.one(self, args, kwargs, self.app.call_options(self, options))

    def using(self, **options: Any) -> Call[P, R]:
        """Options first, then a typed call: `charge.using(countdown=30).delay(1, 500)`."""
        return Call(self, self.app.call_options(self, options))

    def s(self, *args: Any, **kwargs: Any) -> Signature:
        """A call to be made later, as a link: it is given the parent's result before `args`."""
        return Signature(self, args, kwargs)

    def si(self, *args: Any, **kwargs: Any) -> Signature:
        """A call to be made later that is not given the parent's result."""
        return Signature(self, args, kwargs, immutable=True)

    # --- inside a run of a bound task ---

    @property
    def request(self) -> RunContext:
        """The current run: id, args, kwargs, retries, headers, ..."""
        from reliq.context import current

        return current()

    def retry(
        self,
        args: Any = None,
        kwargs: Any = None,
        *,
        exc: BaseException | None = None,
        countdown: float | None = None,
        eta: Any = None,
        max_retries: int | None = None,
        throw: bool = True,
        **options: Never,
    ) -> Retry:
        """Celery's `raise self.retry(exc=..., countdown=...)`: run this message again.

        When no retry is left, raises `exc`, else ends the message as failed.
        """
        if args is not None or kwargs is not None:
            raise OptionError(
                f"{self.name}.retry(args=, kwargs=): a retry moves the same message, its arguments cannot change; "
                "publish a new message with delay() and return Drop('replaced')"
            )
        if options:
            raise OptionError(
                f"{self.name}.retry({', '.join(options)}=): a retry moves the same message, which keeps its options; "
                "it takes exc, countdown, eta, max_retries and throw"
            )
        ctx = self.request
        limit = self.max_retries if max_retries is None else max_retries
        if limit is not None and ctx.retries >= limit:
            if exc is not None:
                raise exc
            raise Fail(f"asked for a retry, but max_retries is {limit}")
        reason = f"{type(exc).__name__}: {exc}" if exc is not None else None
        verdict = Retry(countdown, at=eta, reason=reason)
        verdict.__cause__ = exc
        if max_retries is not None:
            verdict.max_retries = max_retries  # type: ignore[attr-defined]
        if throw:
            raise verdict
        return verdict

    def __repr__(self) -> str:
        return f"<task {self.name}>"


class Call(Generic[P, R]):
    """A task with call options, not yet called."""

    __slots__ = ("_options", "_task")

    def __init__(self, task: Task[P, R], options: Mapping[str, Any]) -> None:
        self._task = task
        self._options = options

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Put the call into the queue."""
        return self._task.app.publisher.one(self._task, args, kwargs, self._options)

    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """`delay` for async code."""
        return await asyncio.to_thread(self._task.app.publisher.one, self._task, args, kwargs, self._options)


class Signature(SignatureNames):
    """A call described but not made: task, arguments, options."""

    __slots__ = ("args", "immutable", "kwargs", "options", "task")

    def __init__(
        self,
        task: Task[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        immutable: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.task = task
        self.args = args
        self.kwargs = kwargs
        self.immutable = immutable
        self.options: Mapping[str, Any] = options or {}

    def set(self, **options: Any) -> Signature:
        """The same call with more options."""
        merged = {**self.options, **self.task.app.call_options(self.task, options)}
        return Signature(self.task, self.args, self.kwargs, immutable=self.immutable, options=merged)

    def delay(self, *args: Any, **kwargs: Any) -> Handle[Any]:
        """Make the call, with more arguments: `args` before its own."""
        if args or kwargs:
            return self.clone(args, kwargs).delay()
        return self.task.app.publisher.one(self.task, self.args, self.kwargs, self.options)

    def __repr__(self) -> str:
        return f"<call of {self.task.name}>"


class SharedTask(Generic[P, R]):
    """What `reliq.task` gives: a definition that becomes a task of whichever app uses it."""

    def __init__(self, func: Callable[..., Any], options: dict[str, Any]) -> None:
        self.func = func
        self.options = options
        self.execution = execution_of(func)
        self.__name__ = getattr(func, "__name__", type(func).__name__)
        self.__doc__ = func.__doc__
        self.__wrapped__ = func
        self.name: str = options.get("name") or name_of(func)

    def bound(self) -> Task[P, R]:
        """The task of the current app."""
        from reliq.app import current_app

        return cast("Task[P, R]", current_app().tasks[self.name])

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if self.options.get("bind"):
            return self.bound()(*args, **kwargs)
        return cast(R, self.func(*args, **kwargs))

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        return getattr(self.bound(), attribute)

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Put a call into the queue of the current app."""
        return self.bound().delay(*args, **kwargs)

    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """`delay` for async code."""
        return await self.bound().adelay(*args, **kwargs)

    def using(self, **options: Any) -> Call[P, R]:
        """Options first, then a typed call."""
        return self.bound().using(**options)

    def __repr__(self) -> str:
        return f"<shared task {self.name}>"


#: Definitions made by `reliq.task`, adopted by every app: a library cannot know the app that will use it.
shared: dict[str, SharedTask[..., Any]] = {}


@overload
def task(func: Callable[P, R], /) -> SharedTask[P, R]: ...
@overload
def task(
    func: None = None, /, *, bind: Literal[True], **options: Any
) -> Callable[[Callable[Concatenate[Any, P], R]], SharedTask[P, R]]: ...
@overload
def task(func: None = None, /, **options: Any) -> Callable[[Callable[P, R]], SharedTask[P, R]]: ...
def task(func: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Define a task without an app, as libraries do; every app adopts it."""

    def define(func: Callable[..., Any]) -> SharedTask[..., Any]:
        definition: SharedTask[..., Any] = SharedTask(func, options)
        check_name(definition.name, shared.get(definition.name), func)
        shared[definition.name] = definition
        return definition

    return define if func is None else define(func)


def check_name(
    name: str, earlier: Task[..., Any] | SharedTask[..., Any] | None, func: Callable[..., Any]
) -> None:
    """Refuse a second function under one name; the same one again, reloaded or typed again, takes its place."""
    if earlier is not None and not _same_definition(earlier, func):
        raise ReliqError(
            f"Two tasks are called {name!r}: {described(earlier.func)} and {described(func)}; "
            "give one of them another name="
        )


def _same_definition(earlier: Task[..., Any] | SharedTask[..., Any], func: Callable[..., Any]) -> bool:
    """Whether a function is an earlier one, executed again: its module was reloaded, or it was typed again.

    Closures of one definition are different functions: each has its own variables.  Two definitions in one execution
    of a module are two tasks: the first would silently be gone.
    """
    one, other = inspect.unwrap(earlier.func), inspect.unwrap(func)
    if one is other:
        return True
    here = (getattr(one, "__module__", None), getattr(one, "__qualname__", None))
    there = (getattr(other, "__module__", None), getattr(other, "__qualname__", None))
    if here != there or None in here:
        return False
    code, code_there = getattr(one, "__code__", None), getattr(other, "__code__", None)
    if code is None or code is code_there:
        return code is None or not getattr(one, "__closure__", None)
    typed = code.co_filename != getattr(code_there, "co_filename", None) or code.co_filename.startswith("<")
    elsewhere = one.__globals__ is not getattr(other, "__globals__", None)
    return typed or elsewhere or earlier.execution is not execution_of(func)


def execution_of(func: Callable[..., Any]) -> object:
    """What is another one each time a function's module is executed: its spec."""
    return getattr(sys.modules.get(getattr(func, "__module__", None) or ""), "__spec__", None)


def described(func: Callable[..., Any]) -> str:
    """The function's name for a message, with the place of its definition."""
    code = getattr(inspect.unwrap(func), "__code__", None)
    name = getattr(func, "__qualname__", None) or repr(func)
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code is not None else name


def call_of(args: object, kwargs: object) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a call gives as `args` and `kwargs`, refused where they cannot be that."""
    if not isinstance(args, tuple | list | None):
        raise OptionError(
            f"args takes a tuple or a list, got {type(args).__name__}; a single argument is a tuple of one: (value,)"
        )
    if not isinstance(kwargs, dict | None):
        raise OptionError(
            f"kwargs takes a dict, got {type(kwargs).__name__}; positional arguments are one tuple"
        )
    return tuple(args or ()), kwargs or {}


def name_of(func: Callable[..., Any]) -> str:
    """`module.function`; a function of `__main__` gets its real module's name, so that a worker can find it."""
    module, name = getattr(func, "__module__", None), getattr(func, "__qualname__", "<lambda>")
    if module is None or name.endswith("<lambda>"):
        raise ReliqError(f"{func!r} has no name of its own to be called by; give it one: @task(name='...')")
    if module == "__main__":
        module = main_module() or module
    return f"{module}.{name.replace('<locals>.', '')}"


def main_module() -> str | None:
    """The name under which another process can import what runs as `__main__`; None for a session or `-c`."""
    from pathlib import Path

    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return str(spec.name).removesuffix(".__main__")
    path = getattr(main, "__file__", None)
    return None if not path or path.startswith("<") else Path(path).stem  # <stdin> is no file


CALL_NAMES = frozenset(
    {"id", "expires_after_due", *(k for k, v in CALL_OPTIONS.items() if v.status == "works")}
)
