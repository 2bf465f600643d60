"""Every error reliq raises, in one tree.

    ReliqError
    ├── ConfigError                     a setting, URL or application that cannot be used
    │   ├── UnknownSetting · ConfigFrozen · AppNotFound · MissingExtra · UnknownPlugin
    ├── OptionError (TypeError)         a task, call or middleware option that cannot be used
    ├── CeleryNameError (AttributeError) a name of Celery's that says what to use here, or "not yet"
    ├── ArgumentError (TypeError)       arguments a task cannot take
    │   ├── ArityError · UnencodableArgument · UnkeyableArgument
    ├── AnnotationError                 a type hint that cannot be resolved or carried
    ├── UnencodableResult (TypeError)   a result that cannot be stored
    ├── InstantError (ValueError)       a moment that cannot be used
    │   └── NaiveDatetimeError
    ├── WireError                       bytes that are not a message
    │   ├── UndecodableMessage · UnknownWireVersion · MessageTooLarge
    ├── BrokerError                     the broker could not be reached or refused to work
    │   ├── BrokerUnavailable · BrokerFull · BrokerRefused · ForkedConnection
    │   ├── PublishRefused              certain: nothing was accepted
    │   │   └── GuardRefused            a guard found something; `.guard`, `.found`
    │   └── PublishUnknown              the reply was lost; `.id` tells later
    ├── UnknownTask                     no function under that name; `.nearest`
    ├── HookError                       a middleware broke its contract
    │   └── HookSwallowed
    └── ResultError                     what a handle raises
        ├── ResultTimeout (TimeoutError) · UnknownResult · GetInsideTask
        ├── TaskFailed                  ended failed; `.kind`, `.message`, `.traceback`
        └── TaskDropped                 ended dropped; `.reason`

    TimeLimitExceeded · TaskCancelled   (BaseException) raised inside a task by the worker
    SoftTimeLimitExceeded               (Exception) the same, and it may be caught

A class's docstring is its default message.  Errors carry fields, not only text.
"""

from __future__ import annotations

from typing import Any


class ReliqError(Exception):
    """Something in reliq went wrong."""

    def __init__(self, message: str | None = None, /, **fields: Any) -> None:
        super().__init__(message if message is not None else (type(self).__doc__ or "").strip())
        self.__dict__.update(fields)

    def __reduce__(self) -> tuple[Any, ...]:
        # Fields are attributes; pickle must carry them without calling __init__ with keywords.
        return (_rebuild, (type(self), self.args, dict(self.__dict__)))


def _rebuild(cls: type[ReliqError], args: tuple[Any, ...], fields: dict[str, Any]) -> ReliqError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(fields)
    return error


class ConfigError(ReliqError):
    """The configuration cannot be used."""


class UnknownSetting(ConfigError):
    """There is no such setting."""


class ConfigFrozen(ConfigError):
    """A setting was changed after its first use."""


class AppNotFound(ConfigError):
    """No reliq application was found."""


class MissingExtra(ConfigError, ImportError):
    """An optional dependency is not installed."""


class UnknownPlugin(ConfigError):
    """No plug-in of that name is installed."""


class OptionError(ReliqError, TypeError):
    """An option is misspelt or has an unusable value."""


class CeleryNameError(ReliqError, AttributeError):
    """Celery has this name; here something else does its work."""

    def __init__(self, message: str | None = None, /, *, name: str = "") -> None:
        super().__init__(message)
        self.name = name  # AttributeError's own field


class ArgumentError(ReliqError, TypeError):
    """The task cannot take these arguments."""


class ArityError(ArgumentError):
    """The arguments do not match the task's signature."""


class UnencodableArgument(ArgumentError):
    """An argument would not arrive as it was sent."""


class UnkeyableArgument(ArgumentError):
    """An argument cannot be part of a key."""


class AnnotationError(ReliqError):
    """A type hint cannot be resolved or carried."""


class UnencodableResult(ReliqError, TypeError):
    """A task returned a value that cannot be stored."""


class InstantError(ReliqError, ValueError):
    """A moment in time cannot be used."""


class NaiveDatetimeError(InstantError):
    """A datetime without a time zone names no moment."""


class WireError(ReliqError):
    """These bytes are not a message."""


class UndecodableMessage(WireError):
    """The message cannot be decoded."""


class UnknownWireVersion(UndecodableMessage):
    """The message has a wire version this reliq does not know."""


class MessageTooLarge(WireError, ValueError):
    """The message is larger than the limit."""


class BrokerError(ReliqError):
    """The broker could not do what was asked."""


class BrokerUnavailable(BrokerError):
    """The broker cannot be reached."""


class BrokerFull(BrokerError):
    """The broker has no room left; nothing was changed."""


class BrokerRefused(BrokerError):
    """The broker's storage cannot be used."""


class ForkedConnection(BrokerError):
    """A connection was used in a fork of the process that opened it."""


class PublishRefused(BrokerError):
    """The broker certainly did not accept the message."""


class GuardRefused(PublishRefused):
    """A guard of the publish was not met; nothing was accepted."""

    guard: Any
    found: Any
    id: str


class PublishUnknown(BrokerError):
    """The reply was lost; publish the same id again to find out."""

    id: str


class UnknownTask(ReliqError, LookupError):
    """No task is registered under that name."""


class HookError(ReliqError):
    """A middleware broke its contract."""


class HookSwallowed(HookError):
    """An `around` hook swallowed the task's error."""


class ResultError(ReliqError):
    """The result cannot be given."""


class ResultTimeout(ResultError, TimeoutError):
    """The task has not ended within the time given."""


class UnknownResult(ResultError, LookupError):
    """The broker has no record of that id."""


class GetInsideTask(ResultError, RuntimeError):
    """Waiting for a result inside a task can dead-lock the worker."""


class TaskFailed(ResultError):
    """The task failed."""

    id: str
    kind: str
    message: str
    traceback: str | None


class TaskDropped(ResultError):
    """The task was dropped."""

    id: str
    reason: str


class TimeLimitExceeded(BaseException):
    """The task ran longer than its hard time limit."""


class SoftTimeLimitExceeded(Exception):
    """The task ran longer than its soft time limit; it may clean up and return."""


class TaskCancelled(BaseException):
    """Somebody asked that this running task should stop."""
