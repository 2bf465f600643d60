"""Whether a value came through JSON unchanged."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

_ATOMS = (str, int, bool, type(None), bytes)


class Change(NamedTuple):
    """The first part of a value that does not arrive as it was given."""

    given: object
    arrived: object
    key: bool = False  # it is the key of a dict


def change(given: object, arrived: object) -> Change | None:
    """The first difference between a value and what its encoding brings back, or None when there is none.

    Types count: a tuple is not a list, an IntEnum not an int, a subclass not its base.  Two leniencies, both without
    loss: an int arrives as the equal float where the annotation says float, and an aware datetime may arrive with
    another zone object of the same offset.
    """
    kind = type(given)
    if kind is not type(arrived):
        return None if kind is int and type(arrived) is float and given == arrived else Change(given, arrived)
    if kind in _ATOMS:
        return None if given == arrived else Change(given, arrived)
    compare = _COMPARE.get(kind) or _structural(kind)
    return compare(given, arrived)


def _equal(given: Any, arrived: Any) -> Change | None:
    return None if given == arrived else Change(given, arrived)


def _sequence(given: Any, arrived: Any) -> Change | None:
    if len(given) != len(arrived):
        return Change(given, arrived)
    kinds = set(map(type, given))
    if len(kinds) == 1 and kinds == set(map(type, arrived)) and kinds.pop() in _ATOMS:
        return _equal(given, arrived)
    return _first(zip(given, arrived, strict=True))


def _mapping(given: Any, arrived: Any) -> Change | None:
    # JSON keeps the order of members, so the n-th key given is the n-th key that arrived.
    for one, other in zip(given, arrived, strict=False):
        if found := change(one, other):
            return found._replace(key=True)
    if len(given) != len(arrived):
        return Change(given, arrived)
    return _first(zip(given.values(), arrived.values(), strict=True))


def _set(given: Any, arrived: Any) -> Change | None:
    if given != arrived:
        return Change(given, arrived)
    extra = set(map(type, given)) - set(map(type, arrived))
    if not extra or (extra == {int} and float in set(map(type, arrived))):
        return None
    return Change(next(item for item in given if type(item) in extra), next(iter(arrived)))


def _decimal(given: decimal.Decimal, arrived: decimal.Decimal) -> Change | None:
    # 1.10 and 1.1 are equal but not the same; a NaN is the same and not equal.
    return None if given.as_tuple() == arrived.as_tuple() else Change(given, arrived)


def _moment(given: Any, arrived: Any) -> Change | None:
    # Aware values of two zones never compare equal inside a gap or fold (PEP 495): compare wall time and offset.
    if given.tzinfo is arrived.tzinfo and given == arrived and given.fold == arrived.fold:
        return None
    offset = given.utcoffset()
    same = (
        offset == arrived.utcoffset()
        and given.replace(tzinfo=None, fold=0) == arrived.replace(tzinfo=None, fold=0)
        and (offset is not None or given.fold == arrived.fold)
    )
    return None if same else Change(given, arrived)


def _fields(names: Iterable[str]) -> Callable[[Any, Any], Change | None]:
    missing = object()
    names = tuple(names)

    def compare(given: Any, arrived: Any) -> Change | None:
        return _first((getattr(given, name, missing), getattr(arrived, name, missing)) for name in names)

    return compare


def _structural(kind: type) -> Callable[[Any, Any], Change | None]:
    if issubclass(kind, tuple | list):
        return _sequence
    if issubclass(kind, enum.Enum):
        return _equal
    if issubclass(kind, msgspec.Struct):
        return _fields(kind.__struct_fields__)
    if dataclasses.is_dataclass(kind):
        return _fields(field.name for field in dataclasses.fields(kind))
    if attributes := getattr(kind, "__attrs_attrs__", None):
        return _fields(attribute.name for attribute in attributes)
    return _equal


def _first(pairs: Iterable[tuple[object, object]]) -> Change | None:
    for given, arrived in pairs:
        if found := change(given, arrived):
            return found
    return None


_COMPARE: dict[type, Callable[[Any, Any], Change | None]] = {
    list: _sequence,
    tuple: _sequence,
    dict: _mapping,
    set: _set,
    frozenset: _set,
    decimal.Decimal: _decimal,
    datetime.datetime: _moment,
    datetime.time: _moment,
}
