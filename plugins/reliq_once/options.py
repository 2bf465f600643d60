"""The options of QueueOnce, in celery-once's names."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from reliq.errors import OptionError


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """How one task is kept once.

    keys               the arguments that make up the key; None: all, []: one lock for the task
    graceful           a duplicate gives a handle in state REJECTED instead of raising `AlreadyQueued`
    timeout            seconds from the due time after which a lock whose message still waits lapses
    unlock_before_run  free the lock when the task starts, not when it ends
    """

    keys: tuple[str, ...] | None = None
    graceful: bool = False
    timeout: float = 3600.0
    unlock_before_run: bool = False

    @classmethod
    def build(cls, given: Once | Mapping[str, Any] | None, *, where: str) -> Once:
        """From the option `once=`; `OptionError` names what is wrong with it."""
        if given is None:
            return cls()
        if isinstance(given, Once):
            given = {f.name: getattr(given, f.name) for f in fields(cls)}
        return cls().over(given, where=where)

    def over(self, given: Once | Mapping[str, Any], *, where: str) -> Once:
        """These options with the given ones in their place; a whole `Once` replaces all."""
        if isinstance(given, Once):
            return Once.build(given, where=where)
        if not isinstance(given, Mapping):
            raise OptionError(f"{where}: once= takes a dict or Once(...), got {given!r}")
        names = [f.name for f in fields(self)]
        for name in given:
            if name not in names:
                near = difflib.get_close_matches(str(name), names, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
                raise OptionError(f"{where}: once has no option {name!r}; {hint}")
        values = dict(given)
        if values.get("keys") is not None:
            if isinstance(values["keys"], str) or not all(isinstance(k, str) for k in values["keys"]):
                raise OptionError(f"{where}: once keys is a list of argument names, got {values['keys']!r}")
            values["keys"] = tuple(values["keys"])
        for name in ("graceful", "unlock_before_run"):
            if not isinstance(values.get(name, False), bool):
                raise OptionError(f"{where}: once {name} is True or False, got {values[name]!r}")
        timeout = values.get("timeout", 1.0)
        if (
            isinstance(timeout, bool)
            or not isinstance(timeout, int | float)
            or not 0 < timeout < float("inf")
        ):
            raise OptionError(f"{where}: once timeout is seconds above 0, got {timeout!r}")
        return replace(self, **values)
