"""The kinds of settings: each turns a value, or text from the environment, into what the program uses."""

from __future__ import annotations

import builtins
import importlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta, tzinfo
from typing import Any

import msgspec


class Unfit(ValueError):
    """The value is not of the kind; the message, if any, says more than `expected` does."""


class Kind(msgspec.Struct, frozen=True):
    """`convert` takes a Python value and `parse` text; both raise `ValueError` on what is not expected."""

    expected: str
    convert: Callable[[Any], Any]
    parse: Callable[[str], Any]


def optional(kind: Kind) -> Kind:
    """The kind, or None; in text `none` or nothing."""

    def convert(value: Any) -> Any:
        return None if value is None else kind.convert(value)

    def parse(text: str) -> Any:
        return None if text.strip().lower() in ("", "none", "null") else kind.parse(text)

    return Kind(f"{kind.expected}, or none", convert, parse)


def choice(*words: str) -> Kind:
    def convert(value: Any) -> str:
        if isinstance(value, str) and value.lower() in words:
            return value.lower()
        raise Unfit

    return Kind(f"one of {', '.join(words)}", convert, convert)


def section(schema: type[msgspec.Struct]) -> Kind:
    """A plug-in's section: a table with the fields of a struct."""

    def convert(value: Any) -> msgspec.Struct:
        if isinstance(value, schema):
            return value
        unknown = sorted(set(value) - set(schema.__struct_fields__)) if isinstance(value, Mapping) else []
        if unknown:
            raise Unfit(f"it has no `{unknown[0]}`")
        try:
            return msgspec.convert(value, schema)
        except msgspec.ValidationError as error:
            raise Unfit(str(error)) from error

    fields = ", ".join(schema.__struct_fields__)
    return Kind(f"a table with {fields}", convert, lambda text: convert(json.loads(text)))


def _text(value: Any) -> str:
    if isinstance(value, str) and value.strip():
        return value
    raise Unfit


def _url(value: Any) -> str:
    if isinstance(value, str) and re.match(r"[a-z][a-z0-9+.\-]*://", value):
        return value
    raise Unfit("a URL starts with its scheme, as in sqlite:///shop.db")


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise Unfit


def _parse_flag(text: str) -> bool:
    word = text.strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise Unfit


def _integer(low: int, high: float = math.inf) -> Kind:
    def convert(value: Any) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise Unfit

    upper = "" if high == math.inf else f" to {high:,}"
    expected = f"a whole number from {low:,}{upper}"
    return Kind(expected, convert, lambda text: convert(int(text.replace("_", ""))))


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


SHORTEST_LEASE = 1.0  # shorter ones take tasks from workers that are merely busy


def _seconds(*, zero: bool, least: float = 0.0) -> Kind:
    def convert(value: Any) -> float:
        if isinstance(value, timedelta):
            value = value.total_seconds()
        if isinstance(value, str):
            return parse(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise Unfit
        if value < least or (value == 0 and not zero):
            raise Unfit
        return float(value)

    def parse(text: str) -> float:
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?\s*", text)
        if found is None:
            raise Unfit
        return convert(float(found[1]) * _UNITS[found[2] or "s"])

    bound = f"{least:g} or more" if zero or least else "more than 0"
    return Kind(f"seconds, {bound} (a number, a timedelta, or text such as 90s, 5m, 1h)", convert, parse)


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if isinstance(value, Sequence) and all(isinstance(item, str) and item for item in value):
        return tuple(value)
    raise Unfit


def _exceptions(value: Any) -> tuple[type[BaseException], ...]:
    if isinstance(value, str):
        value = _names(value)
    elif isinstance(value, type):
        value = (value,)
    if not isinstance(value, Sequence):
        raise Unfit
    found = tuple(_exception(item) if isinstance(item, str) else item for item in value)
    for item in found:
        if not (isinstance(item, type) and issubclass(item, BaseException)):
            raise Unfit(f"{item!r} is not an exception")
    return found


def _exception(path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module) if module else builtins, name)
    except (ImportError, AttributeError) as error:
        raise Unfit(f"{path!r} cannot be imported: {error}") from error


def _zone(value: Any) -> str:
    if isinstance(value, tzinfo):
        value = getattr(value, "key", None) or str(value)
    if not isinstance(value, str) or not value:
        raise Unfit
    if value != "UTC":
        import zoneinfo  # costs 5 ms, and most apps stay in UTC

        try:
            zoneinfo.ZoneInfo(value)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise Unfit(f"no time zone {value!r} in the data of this machine (pip install tzdata)") from error
    return value


def _middleware(value: Any) -> tuple[Any, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise Unfit
    for item in value:
        if isinstance(item, Mapping) and not isinstance(item.get("use"), str):
            raise Unfit('a table names its middleware: {"use": "idempotency", ...}')
        if item is None or isinstance(item, int | float | bytes):
            raise Unfit(f"{item!r} is no middleware")
    return tuple(value)


def _parse_middleware(text: str) -> tuple[Any, ...]:
    return _middleware(json.loads(text)) if text.lstrip().startswith("[") else _names(text)


def _routes(value: Any) -> dict[str, Any]:
    if callable(value):
        raise Unfit("a router function is not possible yet; patterns are: {'mail.*': 'mail'}")
    pairs = value.items() if isinstance(value, Mapping) else value
    if isinstance(pairs, str | bytes):
        raise Unfit
    return dict(_route(pair) for pair in pairs)


def _route(pair: Any) -> tuple[str, Any]:
    if not (isinstance(pair, Sequence) and len(pair) == 2 and isinstance(pair[0], str)):
        raise Unfit(f"{pair!r} is no pattern with its target")
    pattern, target = pair
    if isinstance(target, str) and target:
        return pattern, target
    if isinstance(target, Mapping) and target and target.keys() <= {"queue", "priority"}:
        return pattern, {
            **target,
            **({"priority": PRIORITY.convert(target["priority"])} if "priority" in target else {}),
        }
    raise Unfit(f"{pattern!r} leads to {target!r}; a target is a queue or a table with queue, priority")


_LEVELS = {"warn": "warning", "fatal": "critical"}
_level = choice("debug", "info", "warning", "error", "critical")


def _log_level(value: Any) -> Any:
    return _level.convert(_LEVELS.get(value.lower(), value) if isinstance(value, str) else value)


TEXT = Kind("text", _text, _text)
URL = Kind("a URL such as sqlite:///shop.db or memory://", _url, _url)
FLAG = Kind("true or false", _flag, _parse_flag)
COUNT = _integer(0)
POSITIVE = _integer(1)
PRIORITY = _integer(0, 9)
MESSAGE_SIZE = _integer(1024, 1024 * 1024)
SECONDS = _seconds(zero=True)
DURATION = _seconds(zero=False)
LEASE = _seconds(zero=False, least=SHORTEST_LEASE)
NAMES = Kind("names, as a list or separated by commas", _names, _names)
EXCEPTIONS = Kind("exception classes or their import paths", _exceptions, _exceptions)
ZONE = Kind("a time zone such as Europe/Berlin", _zone, _zone)
MIDDLEWARE = Kind(
    "a list of middleware: instances, names, or tables with `use`", _middleware, _parse_middleware
)
ROUTES = Kind(
    "a table: task name or pattern -> queue, or {queue, priority}",
    _routes,
    lambda text: _routes(json.loads(text)),
)
LOG_LEVEL = Kind(_level.expected, _log_level, _log_level)
