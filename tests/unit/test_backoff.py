"""Back-off."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reliq.errors import OptionError
from reliq.policy.backoff import AFTER_CRASH, Backoff, from_celery


class Fixed(random.Random):
    """A generator that always gives one number."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number

    def random(self) -> float:
        return self.number


@given(st.integers(0, 5000), st.integers())
@settings(deadline=None)
def test_full_jitter_stays_between_half_a_second_and_the_longest_wait(retries: int, seed: int) -> None:
    wait = Backoff().delay(retries, random.Random(seed))
    assert 0.5 <= wait <= min(900.0, 2.0 ** min(retries, 20))


def test_jitter_reaches_both_ends() -> None:
    assert Backoff().delay(4, Fixed(0.0)) == 16.0
    assert Backoff().delay(4, Fixed(1 - 2**-53)) == 0.5
    assert Backoff(floor=0).delay(4, Fixed(1 - 2**-53)) > 0


def test_the_same_seed_gives_the_same_waits() -> None:
    waits = [[Backoff().delay(n, random.Random(7)) for n in range(9)] for _ in range(2)]
    assert waits[0] == waits[1]


def test_without_jitter_waits_double_up_to_the_maximum() -> None:
    policy = Backoff(base=3, max=20, jitter="none")
    assert [policy.delay(n, random.Random()) for n in range(5)] == [3, 6, 12, 20, 20]
    assert policy.delay(100_000, random.Random()) == 20


def test_after_a_crash_a_message_waits_1_2_4_seconds() -> None:
    assert [AFTER_CRASH.delay(n, random.Random()) for n in range(4)] == [1, 2, 4, 4]


def test_celery_without_backoff_waits_the_default_delay() -> None:
    for policy, delay in (
        (from_celery(), 180),
        (from_celery(default_retry_delay=timedelta(seconds=0.1)), 0.1),
    ):
        assert [policy.delay(n, random.Random()) for n in (0, 9)] == [delay, delay]


def test_celery_backoff_options_keep_their_meaning() -> None:
    assert [from_celery(True, retry_jitter=False).delay(n, random.Random()) for n in range(3)] == [1, 2, 4]
    assert [from_celery(5, 12, False).delay(n, random.Random()) for n in range(3)] == [5, 10, 12]
    assert from_celery(5).delay(3, Fixed(0.0)) == 40
    assert from_celery(5).delay(20, Fixed(0.0)) == 600
    assert from_celery(5).delay(3, Fixed(0.999999)) == 0.5


@pytest.mark.parametrize(
    "options",
    [{"base": -1}, {"max": float("inf")}, {"floor": float("nan")}, {"factor": 0.5}, {"jitter": "half"}],
)
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(options))):
        Backoff(**options)
