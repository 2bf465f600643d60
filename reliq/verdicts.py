"""What a task or a hook can say about a delivery.

Verdicts derive from `BaseException`, so `return Drop("x")` and `raise Drop("x")` mean the same in a task and an
`except Exception` in a task's body does not swallow one.  They compare by value and pickle.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

_LONGEST = 1_000_000_000  # seconds; more looks like a moment

__all__ = ["Done", "Drop", "Fail", "Retry", "Snooze", "Verdict"]


class Verdict(BaseException):
    """The base of all verdicts; not raised itself.

    `by` names the middleware that gave it, None for the task's own and the policy's; `reliq why` tells it.
    """

    by: str | None = None
    __match_args__: tuple[str, ...] = ()

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.__match_args__)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash((type(self), repr(self._values())))

    def __repr__(self) -> str:
        values = zip(self.__match_args__, self._values(), strict=True)
        shown = ", ".join(f"{name}={value!r}" for name, value in values if value is not None)
        return f"{type(self).__name__}({shown})"

    __str__ = __repr__

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), dict(self.__dict__)))


def _rebuild(cls: type[Verdict], fields: dict[str, Any]) -> Verdict:
    verdict = cls.__new__(cls)
    verdict.__dict__.update(fields)
    return verdict


class Done(Verdict):
    """The message is done and `value` is its result."""

    __match_args__ = ("value",)

    def __init__(self, value: Any = None) -> None:
        self.value = value


class _Later(Verdict):
    __match_args__ = ("after", "at", "reason")

    def __init__(
        self,
        after: float | timedelta | None = None,
        *,
        at: datetime | None = None,
        reason: str | None = None,
    ) -> None:
        if after is not None and at is not None:
            raise TypeError(f"{type(self).__name__}: give a delay or at=, not both")
        name = type(self).__name__
        if isinstance(after, timedelta):
            after = after.total_seconds()
        elif isinstance(after, datetime):
            raise TypeError(f"{name}: a moment is given as at=, the first argument is seconds")
        elif after is not None and (isinstance(after, bool) or not isinstance(after, int | float)):
            raise TypeError(f"{name}: the delay is seconds or a timedelta, got {after!r}")
        if after is not None and not after < _LONGEST:  # nor NaN
            raise ValueError(f"{name}: a delay of {after} seconds is no delay; give a moment as at=")
        if at is not None and not isinstance(at, datetime):
            raise TypeError(f"{name}: at= takes an aware datetime, got {at!r}")
        if at is not None and at.utcoffset() is None:
            raise TypeError(f"{name}: at= needs an aware datetime, got the naive {at!r}")
        self.after = after
        self.at = at
        self.reason = reason


class Retry(_Later):
    """Run the message again, `after` seconds from now or `at` a moment; None means the task's back-off.

    Counts against `max_retries`.
    """


class Snooze(_Later):
    """Put the message off without counting an attempt; `after` in seconds, or `at` a moment.

    Has a maximum age (`max_snooze`), counted from the first publish.
    """


class _Ended(Verdict):
    __match_args__ = ("reason",)

    def __init__(self, reason: str | None = None) -> None:
        if reason is not None and not isinstance(reason, str):
            raise TypeError(f"{type(self).__name__}: the reason is a text, got {type(reason).__name__}")
        self.reason = reason


class Drop(_Ended):
    """End the message as dropped, for `reason`; nothing runs and nothing is retried."""


class Fail(_Ended):
    """End the message as failed, for `reason`, without a retry; it goes to the dead letters.

    `gave_up` is set where the policy would have tried again but for a limit (`max_retries`, `max_snooze`).
    """

    gave_up: bool = False
