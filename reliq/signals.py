"""Signals with Celery's names: observers on the same chain.

@task_failure.connect
def told(sender, task_id, exception, **rest): ...

A receiver is called with `sender` and what the signal has, by keyword; an error in it is logged and changes nothing.
A signal nobody is connected to costs nothing: it has no place in the chain.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from typing import Any, TypeVar, overload

from reliq.compat.signals import SIGNALS
from reliq.errors import CeleryNameError

logger = logging.getLogger("reliq.signals")

F = TypeVar("F", bound=Callable[..., Any])

#: Called after every change of who is connected: chains that were built before are built again.
changed: list[Callable[[], None]] = []


class Signal:
    """One signal: connect receivers to it, as a decorator or by a call."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._receivers: list[tuple[Callable[[], Any], Any, Any]] = []  # how to get it, its sender, its uid

    def __bool__(self) -> bool:
        return bool(self._receivers)

    @overload
    def connect(self, receiver: F, /, sender: Any = ..., weak: bool = ..., dispatch_uid: Any = ...) -> F: ...
    @overload
    def connect(
        self, receiver: None = ..., /, sender: Any = ..., weak: bool = ..., dispatch_uid: Any = ...
    ) -> Callable[[F], F]: ...
    def connect(
        self, receiver: Any = None, /, sender: Any = None, weak: bool = True, dispatch_uid: Any = None
    ) -> Any:
        """Let a function hear of it.

        sender        only of this task (or its name), for the publish signals its name
        weak          forget a receiver that nobody else holds
        dispatch_uid  connecting again under it does nothing
        """
        entry = SIGNALS[self.name]
        if entry.status != "works":
            raise CeleryNameError(entry.answer(f"The signal {self.name}"), name=self.name)

        def connect(receiver: F) -> F:
            uid = dispatch_uid if dispatch_uid is not None else (_identity(receiver), _named(sender))
            if all(uid != known for _, _, known in self._receivers):
                held: Callable[[], Any] = _weak(receiver, self._swept) if weak else lambda: receiver
                self._receivers = [*self._receivers, (held, _named(sender), uid)]
                _tell_changed()
            return receiver

        return connect if receiver is None else connect(receiver)

    def disconnect(self, receiver: Any = None, sender: Any = None, dispatch_uid: Any = None) -> bool:
        """Let it hear no more; whether it was connected."""
        uid = dispatch_uid if dispatch_uid is not None else (_identity(receiver), _named(sender))
        left = [r for r in self._receivers if r[2] != uid]
        found = len(left) < len(self._receivers)
        self._receivers = left
        if found:
            _tell_changed()
        return found

    def send(self, sender: Any, **fields: Any) -> list[tuple[Any, Any]]:
        """Call every receiver; what each gave, or the error it raised."""
        answers: list[tuple[Any, Any]] = []
        for held, wanted, _ in self._receivers:
            receiver = held()
            if receiver is None or (wanted is not None and wanted != _named(sender)):
                continue
            try:
                answers.append((receiver, receiver(signal=self, sender=sender, **fields)))
            except Exception as error:
                logger.exception("receiver %r of %s failed", receiver, self.name)
                answers.append((receiver, error))
        return answers

    def _swept(self, _: object) -> None:
        self._receivers = [r for r in self._receivers if r[0]() is not None]

    def __repr__(self) -> str:
        return f"<signal {self.name}>"


def _named(sender: Any) -> Any:
    """Tasks are told apart by name: a shared task is another object in each app."""
    return getattr(sender, "name", sender)


def _identity(receiver: Any) -> Any:
    return (id(getattr(receiver, "__self__", None)), id(getattr(receiver, "__func__", receiver)))


def _weak(receiver: Any, gone: Callable[[object], None]) -> Callable[[], Any]:
    if hasattr(receiver, "__self__") and hasattr(receiver, "__func__"):
        return weakref.WeakMethod(receiver, gone)
    return weakref.ref(receiver, gone)


def _tell_changed() -> None:
    for listener in changed:
        listener()


before_task_publish = Signal("before_task_publish")
after_task_publish = Signal("after_task_publish")
task_prerun = Signal("task_prerun")
task_postrun = Signal("task_postrun")
task_success = Signal("task_success")
task_failure = Signal("task_failure")
task_retry = Signal("task_retry")
task_revoked = Signal("task_revoked")
worker_process_init = Signal("worker_process_init")
worker_process_shutdown = Signal("worker_process_shutdown")
worker_ready = Signal("worker_ready")
worker_shutdown = Signal("worker_shutdown")
# The others can be imported, and say what to use instead when something is connected to them.
globals().update({name: Signal(name) for name, entry in SIGNALS.items() if entry.status != "works"})
