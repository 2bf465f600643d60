"""How a name of Celery's stands here, and what follows from it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

from reliq.errors import CeleryNameError, OptionError
from reliq.plugins import owner_of_option


class Name(NamedTuple):
    """How one of Celery's names stands here.

    works    as `to` (the same name when empty); `text` says what differs
    always   what it asks for is always so; any other value than those in `values` is refused with `text`
    use      refused; `text` says what to use instead
    not_yet  refused; it is planned

    `values` of the others: those that ask for nothing, so they are accepted.
    """

    status: Literal["works", "always", "use", "not_yet"]
    to: str = ""
    text: str = ""
    values: tuple[Any, ...] = ()

    def allows(self, value: Any) -> bool:
        """Whether the value asks for no more than there is; True is not 1 here."""
        return any(type(value) is type(one) and value == one for one in self.values)

    def answer(self, subject: str) -> str:
        """Why it is refused and what to do, in a sentence about `subject`."""
        if self.status == "not_yet":
            return f"{subject} is not there yet: {self.text}"
        return f"{subject} is Celery's: {self.text}"


class Refused:
    """A name of Celery's in a class of ours: reading or setting it says what to use instead."""

    def __init__(self, name: str, entry: Name) -> None:
        self.name = name
        self.entry = entry

    def __get__(self, instance: object | None, owner: type | None = None) -> Any:
        if instance is None:
            return self
        raise CeleryNameError(self.entry.answer(f"{_subject(instance)}.{self.name}"), name=self.name)

    def __set__(self, instance: object, value: object) -> None:
        raise CeleryNameError(self.entry.answer(f"{_subject(instance)}.{self.name}"), name=self.name)


def refuse(table: Mapping[str, Name]) -> Callable[[type], type]:
    """Let a class answer for the names that it does not have; those that work must be there already."""

    def install(cls: type) -> type:
        for name, entry in table.items():
            if entry.status != "works" and not hasattr(cls, name):
                setattr(cls, name, Refused(name, entry))
        return cls

    return install


def _subject(instance: object) -> str:
    return getattr(instance, "_spoken", type(instance).__name__)


def translate(
    given: Mapping[str, Any], table: Mapping[str, Name], known: Iterable[str], *, where: str
) -> dict[str, Any]:
    """The options under our names; `OptionError` for one that does not exist, with the nearest that does."""
    known = set(known)
    result: dict[str, Any] = {}
    for name, value in given.items():
        entry = table.get(name)
        if entry is None:
            if name not in known:
                raise OptionError(_unknown(name, {*known, *table}, where))
            result[name] = value
        elif entry.status == "works":
            result[entry.to or name] = value
        elif entry.allows(value):
            continue
        elif entry.status == "always":
            raise OptionError(f"{where}: {name}={value!r} is not possible: {entry.text}")
        elif entry.status == "use":
            raise OptionError(f"{where}: {name!r} has no meaning here: {entry.text}")
        else:
            raise OptionError(f"{where}: {name!r} is not there yet: {entry.text}")
    return result


def _unknown(name: str, names: Iterable[str], where: str) -> str:
    owner = owner_of_option(name)
    if owner is not None:
        return (
            f"{where} has no option {name!r}: it belongs to the middleware {owner!r}, which this task does not have; "
            f"Reliq(..., middleware=[{owner!r}]) switches it on for the app"
        )
    near = difflib.get_close_matches(name, sorted(names), n=1, cutoff=0.6)
    hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(sorted(names))}"
    return f"{where} has no option {name!r}{hint}"
