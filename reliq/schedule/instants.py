"""Moments as integer milliseconds UTC, rounded up: nothing is ever early."""

from __future__ import annotations

import math
import numbers
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal, TypeAlias

from reliq.errors import InstantError, NaiveDatetimeError, OptionError

Naive: TypeAlias = Literal["refuse", "app_timezone"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_COUNTDOWN_BELOW = 1_000_000_000  # seconds: 2001 as an epoch, 31 years as a span
_YEAR_10000 = 253_402_300_800
_LONGEST = timedelta(days=100 * 366)


def to_ms(
    value: datetime | float,
    *,
    name: str = "eta",
    call: str | None = None,
    naive: Naive = "refuse",
    zone: tzinfo | None = None,
    strict: bool = False,
) -> int:
    """The moment `value` names, in milliseconds UTC, rounded up.

    value   an aware datetime, or seconds since 1970 (from 1e9 on: less is taken for a countdown and refused)
    name    the option it came from; call: the call it was given to, as in `app.add.apply_async`; both for messages
    naive   what a datetime without a zone means: an error (`NaiveDatetimeError`), or wall time in `zone`
    strict  refuse wall times that a clock change skips or repeats.  Otherwise one in a gap takes the offset before the
            gap (02:30 becomes 03:30), and one in a fold is the first, unless it says fold=1.
    """
    if isinstance(value, datetime):
        return _datetime_ms(value, name=name, call=call, naive=naive, zone=zone, strict=strict)
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise InstantError(
            f"{name} is a `{type(value).__name__}`; give an aware datetime, or countdown= for seconds from now"
        )
    given = _calling(call, f"{name}={value}")
    if not math.isfinite(value):
        raise InstantError(f"{given} is no moment; give an aware datetime")
    if value < _COUNTDOWN_BELOW:
        raise InstantError(f"{given} is a moment in {_year(value)}; did you mean countdown={value}?")
    if value >= _YEAR_10000:
        raise InstantError(
            f"{given} is past the year 9999; it is read as seconds, did you mean {name}={value / 1000}?"
        )
    return _up(value)


def countdown_ms(value: float | timedelta, *, name: str = "countdown") -> int:
    """A span in milliseconds, rounded up; a negative one is 0.

    value  seconds below 1e9 (more looks like a moment), or a timedelta up to 100 years; NaN and all others raise
           `InstantError`
    """
    if isinstance(value, timedelta):
        if value > _LONGEST:
            raise InstantError(f"{name}={value} is more than 100 years")
        return max(0, -(-(value // _MICROSECOND) // 1000))
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise InstantError(f"{name} is a `{type(value).__name__}`; give seconds or a timedelta")
    if value != value:  # NaN, of whatever real type
        raise InstantError(f"{name} is NaN; give seconds or a timedelta")
    if value >= _COUNTDOWN_BELOW:
        raise InstantError(f"{name}={value} is more than 31 years of seconds; for a moment use eta={value}")
    return 0 if value <= 0 else _up(value)


def due(
    eta: datetime | float | None = None,
    countdown: float | timedelta | None = None,
    *,
    call: str | None = None,
    naive: Naive = "refuse",
    zone: tzinfo | None = None,
) -> tuple[int | None, int | None]:
    """(moment, span) of a call's `eta` and `countdown`, in milliseconds; `OptionError` when both are given.

    The span stays one: it is added to the broker's time, not to this machine's.
    """
    if eta is not None and countdown is not None:
        raise OptionError(f"{_calling(call, 'eta=..., countdown=...')}: give one of them, not both")
    if countdown is not None:
        return None, countdown_ms(countdown)
    return (None if eta is None else to_ms(eta, call=call, naive=naive, zone=zone)), None


def _datetime_ms(
    value: datetime, *, name: str, call: str | None, naive: Naive, zone: tzinfo | None, strict: bool
) -> int:
    if value.utcoffset() is None:
        if naive != "app_timezone":
            raise _naive(value, name, call, zone)
        if zone is None:
            raise OptionError(
                "naive='app_timezone' needs the app's timezone; set timezone='Europe/Berlin', say"
            )
        value = value.replace(tzinfo=zone)
    trouble = _trouble(value)
    if trouble and strict:
        raise InstantError(
            f"{_calling(call, f'{name}={value}')}: the clocks of {value.tzinfo} {trouble} this time; "
            "give the moment in UTC"
        )
    if trouble == "skip":
        value = value.replace(fold=0)  # fold=1 would take the offset after the gap, and be early
    return -(-((value - _EPOCH) // _MICROSECOND) // 1000)


def _trouble(value: datetime) -> Literal["skip", "repeat"] | None:
    """Whether the wall time lies in a gap or a fold (PEP 495: its two offsets differ)."""
    first, second = value.replace(fold=0).utcoffset(), value.replace(fold=1).utcoffset()
    if first is None or second is None or first == second:
        return None
    return "skip" if first < second else "repeat"


def _naive(value: datetime, name: str, call: str | None, zone: tzinfo | None) -> NaiveDatetimeError:
    key = getattr(zone, "key", None) or "Europe/Berlin"
    parts = [value.year, value.month, value.day, value.hour, value.minute]
    if value.second or value.microsecond:
        parts.append(value.second)
    if value.microsecond:
        parts.append(value.microsecond)
    aware = f'datetime({", ".join(map(str, parts))}, tzinfo=ZoneInfo("{key}"))'
    yours = "" if getattr(zone, "key", None) else " with the zone that is meant"
    return NaiveDatetimeError(
        f"{name}={value} has no time zone, so it names no moment. Write {_calling(call, f'{name}={aware}')}{yours}, or "
        f"{_calling(call, 'countdown=SECONDS')} for a time from now",
        value=value,
    )


def _calling(call: str | None, argument: str) -> str:
    return f"{call}(..., {argument})" if call else argument


def _up(seconds: float) -> int:
    # Rounding to a nanosecond first: 4.035 * 1000 is 4035.0000000000005, which is 4035 and not 4036.
    return seconds * 1000 if type(seconds) is int else math.ceil(round(float(seconds) * 1000, 6))


def _year(seconds: float) -> str:
    return str((_EPOCH + timedelta(seconds=seconds)).year) if seconds > -6e10 else "antiquity"
