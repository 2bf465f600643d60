"""Why a value was refused, in words: what was given, what is wrong with it, what to do.  Never the value itself."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from reliq.wire import hints
from reliq.wire.lossless import Change

_NOT_FINITE = "is or holds a NaN or an infinity, which JSON does not have; pass None, or text"
_EXAMPLES = {"tuple": "tuple[int, ...]", "set": "set[int]", "frozenset": "frozenset[int]"}


def unencodable(value: object, error: Exception) -> str:
    """For a value that cannot be written as JSON."""
    if isinstance(error, UnicodeError):
        return "has text with a lone surrogate, which no encoding carries; decode it with errors='replace'"
    if isinstance(error, RecursionError):
        return "contains itself or is nested too deep; pass plain, shallow data"
    if isinstance(error, ValueError):
        return "has an integer too large to be written; pass it as text"
    if hints.is_orm(value):
        return f"is {_a(value)}, a model instance; pass its primary key and load it in the task"
    culprit = re.search(r"type (\S+) is unsupported", str(error))
    if culprit is None:
        return f"is {_a(value)}, which JSON cannot carry ({error}); pass a list of pairs"
    holds = f"is {_a(value)}" if culprit[1] == type(value).__name__ else f"holds a `{culprit[1]}`"
    if isinstance(value, str | int | float):
        base = next(base for base in (str, int, float) if isinstance(value, base)).__name__
        return f"{holds}, a kind of `{base}` that would arrive as a plain one; pass {base}(...)"
    return (
        f"{holds}, which JSON cannot carry; pass plain data, a dataclass or a msgspec.Struct (annotated), or for a row "
        "its primary key"
    )


def unfit(hint: Any, value: object, error: msgspec.ValidationError) -> str:
    """For a value that is not what the annotation says."""
    if isinstance(value, float) and not math.isfinite(value):
        return _NOT_FINITE
    nested = f" ({detail(error)})" if " at `" in str(error) else ""
    return f"is {_a(value)}, but its annotation is {hint_text(hint)}{nested}; pass what it says or change it"


def changed(name: str, hint: Any, value: object, found: Change) -> str:
    """For a value that would arrive as another one."""
    given, arrived = found.given, found.arrived
    if isinstance(given, float) and arrived is None:
        return _NOT_FINITE
    if hints.is_orm(given):
        return f"is or holds {_a(given)}, a model instance; pass its primary key and load it in the task"
    where = "is" if given is value else "has a dict key that is" if found.key else "holds"
    if type(given) is type(arrived):
        return (
            f"{where} {_a(given)} whose value would not arrive unchanged in its annotation {hint_text(hint)}"
        )
    advice = f"pass {_a(arrived)}"
    if hint is Any and hints.problem(type(given)) is None:
        advice = f"annotate the parameter, as in `{name}: {_suggest(value, given, found.key)}`, or {advice}"
    return f"{where} {_a(given)}, which would arrive as {_a(arrived)}; {advice}"


def _suggest(value: object, given: object, key: bool) -> str:
    inner = _EXAMPLES.get(type(given).__name__, type(given).__name__)
    if key:
        return f"dict[{inner}, ...]"
    if given is value:
        return inner
    return f"dict[str, {inner}]" if isinstance(value, dict) else f"list[{inner}]"


def result(value: object, error: Exception) -> str:
    """For a returned value that cannot be written as JSON."""
    if hints.is_orm(value):
        return f"{_a(value)}, a model instance; return its primary key"
    if isinstance(error, RecursionError):
        return "a value that contains itself or is nested too deep; return plain, shallow data"
    return f"{_a(value)} that JSON cannot carry ({error}); return plain data or a dataclass, or set ignore_result=True"


def has_nonfinite(value: object) -> bool:
    """Whether a NaN or an infinity is in there, which JSON would turn into null."""
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, Mapping):
        return any(map(has_nonfinite, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return any(map(has_nonfinite, value))
    names = getattr(value, "__struct_fields__", ()) or getattr(value, "__dataclass_fields__", ())
    return any(has_nonfinite(getattr(value, name, None)) for name in names)


def _a(value: object) -> str:
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} `{name}`"


def hint_text(hint: Any) -> str:
    """The annotation as one writes it."""
    plain = isinstance(hint, type) and not hasattr(hint, "__args__")  # list[int] is a type, too
    return f"`{hint.__name__ if plain else str(hint).replace('typing.', '')}`"


def detail(error: Exception) -> str:
    """What msgspec found, without the values it quotes: they may be secret."""
    return re.sub(r"value .*?(?= - at `|$)", "value", str(error))
