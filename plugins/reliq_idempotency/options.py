"""The options of idempotency: for an app, a task or a call, the later over the earlier."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any, Literal, TypeAlias, TypedDict

from reliq.errors import OptionError

Names: TypeAlias = tuple[str, ...]

_LONGEST = 1e11  # seconds; the broker keeps milliseconds in 64 bits
_CHOICES: Mapping[str, tuple[object, ...]] = {
    "on_duplicate": ("join", "raise"),
    "on_in_progress": ("snooze", "raise"),
    "replay_failures": (None, "permanent", "all"),
    "scope": ("task", "parent"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Idempotent:
    """How the calls of a task are told apart, and what a second one of the same gets.

    keys             the arguments that make up the key; "all", `[]` one key for the task, None: only a call's own key
    key              or a function of the call's arguments that gives the key, a text or a tuple (None: no key)
    fingerprint      the arguments that must be the same where the key is: "all", a list of names, or None
    ttl              seconds that a result (or a kept failure) is replayed, from the end of the message
    on_duplicate     a second send gives the first one's handle ("join") or `IdempotencyConflict` ("raise")
    on_in_progress   a run that finds another message with the key unfinished waits ("snooze") or fails ("raise")
    replay_failures  None frees the key when the message fails; "permanent" keeps failures that are not retried, "all"
                     keeps every one
    scope            the key counts for the whole "task", or for each "parent" message that sends it
    namespace        a text that keeps keys of the same task apart
    max_result       bytes of an encoded result above which the record refers to that of the message
    """

    keys: Names | Literal["all"] | None = None
    key: Callable[..., str | tuple[object, ...] | None] | None = None
    fingerprint: Names | Literal["all"] | None = "all"
    ttl: float = 86_400.0
    on_duplicate: Literal["join", "raise"] = "join"
    on_in_progress: Literal["snooze", "raise"] = "snooze"
    replay_failures: Literal["permanent", "all"] | None = None
    scope: Literal["task", "parent"] = "task"
    namespace: str = ""
    max_result: int = 65_536

    def over(self, given: object, *, where: str) -> Idempotent:
        """These options with the given ones in their place; `OptionError` names what is wrong with one.

        given  a mapping of options, or a whole `Idempotent`, which replaces all
        """
        if isinstance(given, Idempotent):
            given = {f.name: getattr(given, f.name) for f in fields(self)}
        if given is True:
            given = {"keys": "all"}
        if not isinstance(given, Mapping):
            raise OptionError(
                f"{where}: idempotency= takes a dict, Idempotent(...), True or False, got {given!r}"
            )
        known = [f.name for f in fields(self)]
        for name in given:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
                raise OptionError(f"{where}: idempotency has no option {name!r}; {hint}")
        values = {name: _checked(name, value, where) for name, value in given.items()}
        if values.get("keys") is not None and values.get("key") is not None:
            raise OptionError(f"{where}: idempotency takes keys or key, not both")
        # The one that is given replaces the other, which may come from the app's or the task's options.
        if values.get("keys") is not None:
            values.setdefault("key", None)
        elif values.get("key") is not None:
            values.setdefault("keys", None)
        return replace(self, **values)

    @property
    def ttl_ms(self) -> int:
        return int(self.ttl * 1000)

    @property
    def named(self) -> Names:
        """All arguments that the options name."""
        return tuple(
            name for names in (self.keys, self.fingerprint) if isinstance(names, tuple) for name in names
        )


class Given(TypedDict, total=False):
    """The options of `Idempotent`, where a call names them."""

    keys: Any
    key: Any
    fingerprint: Any
    ttl: float | timedelta
    on_duplicate: str
    on_in_progress: str
    replay_failures: str | None
    scope: str
    namespace: str
    max_result: int


def _checked(name: str, value: Any, where: str) -> Any:
    if name in _CHOICES:
        if value not in _CHOICES[name]:
            choices = " or ".join(repr(choice) for choice in _CHOICES[name])
            raise OptionError(f"{where}: idempotency {name} is {choices}, got {value!r}")
    elif name in ("keys", "fingerprint"):
        if value is None or value == "all":
            return value
        if not isinstance(value, list | tuple) or not all(isinstance(k, str) for k in value):
            raise OptionError(
                f'{where}: idempotency {name} is a list of argument names, "all" or None, got {value!r}'
            )
        return tuple(value)
    elif name == "key":
        if value is not None and (not callable(value) or inspect.iscoroutinefunction(value)):
            raise OptionError(
                f"{where}: idempotency key is a plain function of the arguments, got {value!r}; the key of one call is "
                "given with using(idempotency_key=...)"
            )
    elif name == "ttl":
        if isinstance(value, timedelta):
            value = value.total_seconds()
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0.001 <= value <= _LONGEST:
            raise OptionError(f"{where}: idempotency ttl is seconds above 0 or a timedelta, got {value!r}")
        return float(value)
    elif name == "namespace":
        if not isinstance(value, str) or any("\ud800" <= char <= "\udfff" for char in value):
            raise OptionError(f"{where}: idempotency namespace is a text that has UTF-8, got {value!r}")
    elif isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise OptionError(f"{where}: idempotency {name} is a whole number of bytes, got {value!r}")
    return value
