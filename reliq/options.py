"""The options of a task, read once and checked where the task is defined."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from types import EllipsisType
from typing import Any

import msgspec

from reliq.errors import OptionError
from reliq.policy.backoff import Backoff, from_celery
from reliq.policy.tenacious import check as check_tenacity


class TaskOptions(msgspec.Struct, frozen=True):
    """What a task said about itself; None (`...` where None means something) leaves it to the app.

    Durations are seconds.
    """

    bind: bool = False
    queue: str | None = None
    priority: int | None = None
    max_retries: int | EllipsisType | None = ...
    retry_on: tuple[type[BaseException], ...] | None = None
    dont_retry_on: tuple[type[BaseException], ...] = ()
    throws: tuple[type[BaseException], ...] = ()
    backoff: Backoff | None = None
    retry_with: Any = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    expires: float | None = None
    ignore_result: bool | None = None
    result_ttl: float | None = None
    dead_letter_ttl: float | None = None
    max_crashes: int | None = None
    max_snooze: float | None = None

    @classmethod
    def names(cls) -> frozenset[str]:
        """Every option name of the core."""
        return frozenset(cls.__struct_fields__) | _CELERY_BACKOFF | {"name", "base", "retry_kwargs"}

    @classmethod
    def build(cls, given: Mapping[str, Any], *, where: str) -> TaskOptions:
        """Check and convert; `OptionError` names the option and what it takes."""
        options = {k: v for k, v in given.items() if k not in ("name", "base")}
        options = _unfold_retry_kwargs(options, where)
        celery = {k: options.pop(k) for k in list(options) if k in _CELERY_BACKOFF}
        if celery:
            if options.get("backoff") is not None:
                raise OptionError(f"{where}: give backoff= or Celery's {', '.join(sorted(celery))}, not both")
            options["backoff"] = from_celery(**celery)
        values = {name: _convert(name, value, where) for name, value in options.items()}
        if values.get("retry_with") is not None:
            for other in ("retry_on", "dont_retry_on", "max_retries", "backoff"):
                if other in values:
                    raise OptionError(
                        f"{where}: retry_with decides alone, so {other} has no meaning beside it"
                    )
        soft, hard = values.get("soft_time_limit"), values.get("time_limit")
        if soft is not None and hard is not None and soft >= hard:
            raise OptionError(f"{where}: soft_time_limit={soft} must be below time_limit={hard}")
        return cls(**values)


_CELERY_BACKOFF = frozenset({"retry_backoff", "retry_backoff_max", "retry_jitter", "default_retry_delay"})
_CLASSES = ("retry_on", "dont_retry_on", "throws")
_SECONDS = ("time_limit", "soft_time_limit", "expires", "result_ttl", "dead_letter_ttl", "max_snooze")


_LONGEST = 1e11  # seconds; a broker keeps milliseconds in 64 bits


def seconds(value: Any, *, where: str, name: str) -> float:
    """A duration given as seconds or a timedelta."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise OptionError(f"{where}: {name} takes seconds above 0 or a timedelta, got {value!r}")
    if value > _LONGEST:
        raise OptionError(f"{where}: {name}={value!r} is more than 3,000 years of seconds")
    return float(value)


def priority(value: Any, *, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 9:
        raise OptionError(f"{where}: priority is 0 (last) to 9 (first), got {value!r}")
    return value


_NO_NAME = re.compile(
    r"[,=\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"
)  # also what ends lines, and texts in C


def queue_name(value: Any, *, where: str) -> str:
    """A name that `-Q a=3,b=1` can tell apart."""
    if not isinstance(value, str) or not value or _NO_NAME.search(value):
        raise OptionError(f"{where}: queue is a name without ',' and '=', got {value!r}")
    return value


def is_storable(text: str) -> bool:
    """Whether the text has UTF-8: one with lone surrogates has not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _convert(name: str, value: Any, where: str) -> Any:
    if name in _CLASSES:
        return None if value is None and name == "retry_on" else _classes(name, value, where)
    if value is None:
        return None
    if name == "retry_with":
        return check_tenacity(value, where=where)
    if name in _SECONDS:
        return seconds(value, where=where, name=name)
    if name == "priority":
        return priority(value, where=where)
    if name in ("max_retries", "max_crashes"):
        low = 1 if name == "max_crashes" else 0
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise OptionError(f"{where}: {name} is a whole number from {low}, got {value!r}")
    elif name in ("bind", "ignore_result"):
        if not isinstance(value, bool):
            raise OptionError(f"{where}: {name} is True or False, got {value!r}")
    elif name == "queue":
        return queue_name(value, where=where)
    elif name == "backoff" and not isinstance(value, Backoff):
        raise OptionError(f"{where}: backoff is a reliq.Backoff, got {value!r}")
    return value


def _classes(name: str, value: Any, where: str) -> tuple[type[BaseException], ...]:
    if isinstance(value, type):
        value = (value,)
    if not isinstance(value, tuple | list) or not all(
        isinstance(v, type) and issubclass(v, BaseException) for v in value
    ):
        raise OptionError(f"{where}: {name} takes exception classes, got {value!r}")
    return tuple(value)


def _unfold_retry_kwargs(options: dict[str, Any], where: str) -> dict[str, Any]:
    extra = options.pop("retry_kwargs", None)
    if not extra:
        return options
    known = {"max_retries": "max_retries", "countdown": "default_retry_delay"}
    for name in extra:
        if name not in known:
            raise OptionError(f"{where}: retry_kwargs takes max_retries and countdown, got {name!r}")
    return {**{known[k]: v for k, v in extra.items()}, **options}
