"""Moments: aware, in milliseconds, never early."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reliq.errors import InstantError, NaiveDatetimeError, OptionError
from reliq.schedule.instants import countdown_ms, due, to_ms

BERLIN = ZoneInfo("Europe/Berlin")
DAY_ONE, LAST_DAY = datetime(1, 1, 3), datetime(9999, 12, 29)  # noqa: DTZ001  bounds of wall times
NAIVE = datetime(2026, 3, 1, 9, 0)  # noqa: DTZ001  the case in question


def utc(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@given(st.datetimes(DAY_ONE, LAST_DAY, timezones=st.timezones() | st.just(UTC), allow_imaginary=True))
@settings(deadline=None)
def test_no_moment_is_early_nor_a_millisecond_late(value: datetime) -> None:
    if value.replace(tzinfo=None) != value.astimezone(UTC).astimezone(value.tzinfo).replace(tzinfo=None):
        value = value.replace(fold=0)
    exact = (value - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert exact <= to_ms(value) * 1000 < exact + 1000


def test_part_of_a_millisecond_is_rounded_up() -> None:
    assert to_ms(datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC)) == utc("2026-01-01T00:00:00.001")
    assert to_ms(datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)) == 0


def test_the_ends_of_the_calendar_are_moments_too() -> None:
    for value in (datetime.max, datetime.min):  # noqa: DTZ901  the zone comes next
        for hours in (-12, 0, 12):
            to_ms(value.replace(tzinfo=timezone(timedelta(hours=hours))))


def test_a_naive_datetime_is_refused_with_the_corrected_call() -> None:
    with pytest.raises(NaiveDatetimeError) as caught:
        to_ms(NAIVE, call="app.add.apply_async", zone=ZoneInfo("Asia/Tokyo"))
    text = str(caught.value)
    assert 'app.add.apply_async(..., eta=datetime(2026, 3, 1, 9, 0, tzinfo=ZoneInfo("Asia/Tokyo")))' in text
    assert "app.add.apply_async(..., countdown=SECONDS)" in text
    with pytest.raises(
        NaiveDatetimeError, match=r"expires=datetime\(2026, 3, 1, 9, 0, 5, 1, tzinfo=ZoneInfo"
    ):
        to_ms(NAIVE.replace(second=5, microsecond=1), name="expires")


def test_an_app_may_read_naive_times_in_its_zone() -> None:
    assert to_ms(NAIVE, naive="app_timezone", zone=BERLIN) == utc("2026-03-01T08:00")
    with pytest.raises(OptionError, match="timezone="):
        to_ms(NAIVE, naive="app_timezone")


@pytest.mark.parametrize(
    ("wall", "fold", "expected"),
    [
        ("2026-03-29T02:30", 0, "2026-03-29T01:30"),  # in the gap: 03:30 local
        ("2026-03-29T02:30", 1, "2026-03-29T01:30"),  # never earlier, whatever fold says
        ("2026-10-25T02:30", 0, "2026-10-25T00:30"),  # in the fold: the first
        ("2026-10-25T02:30", 1, "2026-10-25T01:30"),  # unless the second is asked for
    ],
)
def test_clock_changes(wall: str, fold: int, expected: str) -> None:
    value = datetime.fromisoformat(wall).replace(tzinfo=BERLIN, fold=fold)
    assert to_ms(value) == utc(expected)
    with pytest.raises(InstantError, match="skip this time|repeat this time"):
        to_ms(value, strict=True)
    assert to_ms(value.replace(day=20), strict=True) == to_ms(value.replace(day=20))


def test_seconds_since_1970_are_a_moment() -> None:
    assert to_ms(1_772_355_600) == utc("2026-03-01T09:00")
    assert to_ms(1_772_355_600.0004) == utc("2026-03-01T09:00:00.001")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (30, r"add\(\.\.\., eta=30\) is a moment in 1970; did you mean countdown=30\?"),
        (-5, "did you mean countdown=-5"),
        (-1e300, "countdown"),
        (1_772_355_600_000, r"did you mean eta=1772355600\.0"),
        (float("nan"), "no moment"),
        (float("inf"), "no moment"),
        (True, "is a `bool`"),
        ("2026-03-01", "is a `str`; give an aware datetime"),
        (timedelta(1), "is a `timedelta`.*countdown="),
    ],
)
def test_what_is_no_moment_is_refused_with_a_guess_of_what_was_meant(value: Any, text: str) -> None:
    with pytest.raises(InstantError, match=text):
        to_ms(value, call="add")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (30, 30_000),
        (0.0001, 1),
        (4.035, 4035),
        (1.001, 1001),
        (0, 0),
        (-3, 0),
        (float("-inf"), 0),
        (timedelta(microseconds=1), 1),
        (timedelta(days=-1), 0),
        (timedelta(days=365 * 100), 365 * 100 * 86_400_000),
    ],
)
def test_a_countdown_is_rounded_up_and_never_negative(value: Any, expected: int) -> None:
    assert countdown_ms(value) == expected


@given(st.floats(0, 9e8))
@settings(deadline=None)
def test_a_countdown_is_never_short(seconds: float) -> None:
    assert seconds * 1000 - 0.001 <= countdown_ms(seconds) < seconds * 1000 + 1.001


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (float("nan"), "NaN"),
        (float("inf"), "31 years"),
        (1_772_355_600, "for a moment use eta=1772355600"),
        (timedelta(days=40_000), "100 years"),
        ("3", "`str`"),
        (True, "`bool`"),
    ],
)
def test_an_absurd_countdown_is_refused(value: Any, text: str) -> None:
    with pytest.raises(InstantError, match=text):
        countdown_ms(value)


def test_a_call_has_an_eta_or_a_countdown() -> None:
    assert due() == (None, None)
    assert due(countdown=1.5) == (None, 1500)
    assert due(datetime(2026, 3, 1, 9, tzinfo=UTC)) == (utc("2026-03-01T09:00"), None)
    with pytest.raises(OptionError, match=r"add\(\.\.\., eta=\.\.\., countdown=\.\.\.\): give one of them"):
        due(2e9, 1, call="add")
