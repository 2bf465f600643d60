"""The options of QueueOnce: celery-once's names first, then what goes beyond them."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any, Literal

from reliq.errors import OptionError

Until = Literal["start", "done", "expiry"]
Conflict = Literal["raise", "drop", "join", "replace", "debounce", "rerun"]

UNTIL = ("start", "done", "expiry")
CONFLICTS = ("raise", "drop", "join", "replace", "debounce", "rerun")
BUSY = ("snooze", "drop", "fail")
STORE_ERRORS = ("raise", "run")
TIMEOUT = 3600.0  # as celery-once's
MOST_SLOTS = 100
_LONGEST = 1e10  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """How one task is kept once.  Durations are seconds or a timedelta.

    keys               the arguments that make up the key; None: all, []: one lock for the task
    key                a function of the call's arguments that gives the key: a str, a tuple, or None for no lock
    namespace          tasks with the same namespace share their keys; None: the task alone
    timeout            how long after its due time a message may wait before its lock lapses (3600)
    until              when the lock is freed: at the "start", when it is "done" (default), at the "expiry" of `timeout`
    on_conflict        "raise" AlreadyQueued (default), "drop", "join" the message that is there, "replace" it while it
                       waits, "debounce" (see below), "rerun" once more after the run that is going on
    debounce           (delay, max_wait): run `delay` after the last call, at most `max_wait` after the first
    while_running      how many of one key may run at once
    on_busy            what a message does when so many run: "snooze" (default), "drop", "fail"
    hold_on_failure    keep the lock for `timeout` when the message fails
    relock_on_retry    with until="start": take the lock again when the message is to be retried
    on_store_error     when the store fails at the start: "raise" puts the message off (default), "run" runs it
    graceful           celery-once's name for on_conflict="drop"
    unlock_before_run  celery-once's name for until="start"
    """

    keys: Sequence[str] | None = None
    graceful: bool = False
    timeout: float | timedelta | None = None
    unlock_before_run: bool = False
    key: Callable[..., Any] | None = None
    namespace: str | None = None
    until: Until | None = None
    on_conflict: Conflict | None = None
    debounce: tuple[float | timedelta, float | timedelta] | None = None
    while_running: int | None = None
    on_busy: Literal["snooze", "drop", "fail"] | None = None
    hold_on_failure: bool = False
    relock_on_retry: bool = False
    on_store_error: Literal["raise", "run"] = "raise"

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
        values = {name: _CHECKS[name](value, where, name) for name, value in given.items()}
        for old, new in (("graceful", "on_conflict"), ("unlock_before_run", "until"), ("keys", "key")):
            # What a call says stands over what the task says under the other name.
            if values.get(new) is not None:
                values.setdefault(old, None if old == "keys" else False)
            elif values.get(old):
                values.setdefault(new, None)
        merged = replace(self, **values)
        _check_together(merged, where)
        return merged

    # --- what follows from them ---

    @property
    def conflict(self) -> Conflict:
        if self.on_conflict is not None:
            return self.on_conflict
        if self.debounce is not None:
            return "debounce"
        return "drop" if self.graceful else "raise"

    @property
    def says_conflict(self) -> bool:
        """Whether the user chose what happens on a conflict."""
        return self.on_conflict is not None or self.graceful or self.debounce is not None

    @property
    def newest(self) -> bool:
        """Whether the newest call wins over one that waits."""
        return self.conflict in ("replace", "debounce", "rerun")

    @property
    def frees(self) -> Until:
        if self.until is not None:
            return self.until
        starts = self.unlock_before_run or self.slots or self.conflict == "debounce"
        return "start" if starts else "done"

    @property
    def slots(self) -> int:
        """How many of a key may run at once; 0: nobody counts."""
        return self.while_running or (1 if self.conflict == "rerun" else 0)


def engine_only(once: Once) -> tuple[str, ...]:
    """The options that need locks and messages to move in one step, whatever store stands beside a broker."""
    said = [f"on_conflict={once.conflict!r}"] if once.newest else []
    return (*said, *(["while_running"] if once.while_running else []))


def seconds(value: float | timedelta) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


# --- one by one ---


def _keys(value: Any, where: str, name: str) -> Any:
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, list | tuple | set | frozenset):
        raise OptionError(f"{where}: once keys is a list of argument names, got {value!r}")
    if not all(isinstance(key, str) for key in value):
        raise OptionError(f"{where}: once keys is a list of argument names, got {value!r}")
    return tuple(value)


def _flag(value: Any, where: str, name: str) -> Any:
    if not isinstance(value, bool):
        raise OptionError(f"{where}: once {name} is True or False, got {value!r}")
    return value


def _span(value: Any, where: str, name: str) -> Any:
    plain = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(plain, bool) or not isinstance(plain, int | float) or not 0 < plain <= _LONGEST:
        raise OptionError(f"{where}: once {name} is seconds above 0 (at most 1e10), got {value!r}")
    return value


def _timeout(value: Any, where: str, name: str) -> Any:
    return None if value is None else _span(value, where, name)


def _choice(*words: str) -> Any:
    def check(value: Any, where: str, name: str) -> Any:
        if value not in (None, *words) or isinstance(value, bool):
            near = difflib.get_close_matches(str(value), words, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise OptionError(f"{where}: once {name} is one of {', '.join(words)}, got {value!r}{hint}")
        return value

    return check


def _store_error(value: Any, where: str, name: str) -> Any:
    return _choice(*STORE_ERRORS)("raise" if value is None else value, where, name)


def _key(value: Any, where: str, name: str) -> Any:
    if value is None:
        return None
    if not callable(value) or inspect.iscoroutinefunction(value):
        raise OptionError(
            f"{where}: once key is a plain function of the call's arguments, got {value!r}; "
            "names of arguments are keys=[...]"
        )
    return value


def _namespace(value: Any, where: str, name: str) -> Any:
    if value is not None and (not isinstance(value, str) or not 1 <= len(value) <= 200 or _is_broken(value)):
        raise OptionError(f"{where}: once namespace is a text of 1 to 200 characters, got {value!r}")
    return value


def _is_broken(text: str) -> bool:
    """Whether it has half a character, as of a file name that is no UTF-8."""
    return any("\ud800" <= char <= "\udfff" for char in text)


def _debounce(value: Any, where: str, name: str) -> Any:
    if value is None:
        return None
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise OptionError(f"{where}: once debounce is (delay, max_wait) in seconds, got {value!r}")
    delay, most = (_span(part, where, "debounce") for part in value)
    if seconds(delay) > seconds(most):
        raise OptionError(f"{where}: once debounce={value!r}: max_wait, the second, is not below the delay")
    return (delay, most)


def _slots(value: Any, where: str, name: str) -> Any:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_SLOTS:
        raise OptionError(
            f"{where}: once while_running is a whole number from 1 to {MOST_SLOTS}, got {value!r}"
        )
    return value


_CHECKS: dict[str, Callable[[Any, str, str], Any]] = {
    "keys": _keys,
    "graceful": _flag,
    "timeout": _timeout,
    "unlock_before_run": _flag,
    "key": _key,
    "namespace": _namespace,
    "until": _choice(*UNTIL),
    "on_conflict": _choice(*CONFLICTS),
    "debounce": _debounce,
    "while_running": _slots,
    "on_busy": _choice(*BUSY),
    "hold_on_failure": _flag,
    "relock_on_retry": _flag,
    "on_store_error": _store_error,
}


# --- together ---


def _check_together(once: Once, where: str) -> None:
    """Refuse what would have to be ignored."""
    for wrong, why in (
        (
            once.graceful and once.on_conflict is not None,
            "graceful and on_conflict say the same thing: give one",
        ),
        (
            once.unlock_before_run and once.until is not None,
            "unlock_before_run and until say the same thing: give one",
        ),
        (once.keys is not None and once.key is not None, "give keys or key, not both"),
        (
            once.debounce is not None and (once.graceful or once.on_conflict not in (None, "debounce")),
            f"debounce=(delay, max_wait) is a way to meet a conflict, so {_said(once)} cannot stand beside it",
        ),
        (
            once.on_conflict == "debounce" and once.debounce is None,
            "on_conflict='debounce' needs debounce=(delay, max_wait)",
        ),
        (
            once.conflict in ("rerun", "debounce") and once.until in ("done", "expiry"),
            f"{once.conflict} takes calls while one runs, so its lock is free from the start: "
            f"drop until={once.until!r}",
        ),
        (
            once.conflict == "rerun" and once.while_running not in (None, 1),
            "rerun runs one at a time: drop while_running",
        ),
        (
            once.relock_on_retry and once.frees != "start",
            "relock_on_retry belongs to until='start'; any other lock is kept over a retry",
        ),
        (
            once.hold_on_failure and once.frees == "expiry",
            "hold_on_failure has no meaning with until='expiry', which keeps the lock whatever the end",
        ),
        (
            once.on_busy is not None and not once.slots,
            "on_busy says what to do when while_running are running: give while_running=N",
        ),
    ):
        if wrong:
            raise OptionError(f"{where}: once: {why}")


def _said(once: Once) -> str:
    return "graceful" if once.graceful else f"on_conflict={once.on_conflict!r}"
