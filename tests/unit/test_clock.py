"""Clocks."""

from __future__ import annotations

import threading
import time

import pytest

from reliq.policy.clock import Clock, SystemClock, VirtualClock


def test_the_system_clock_tells_wall_time_in_milliseconds_and_never_goes_back() -> None:
    clock: Clock = SystemClock()
    before = time.time() * 1000
    assert before - 1 <= clock.now_ms() <= time.time() * 1000
    first = clock.monotonic()
    assert clock.monotonic() >= first


def test_a_virtual_clock_moves_only_when_told() -> None:
    clock = VirtualClock(1_000)
    assert (clock.now_ms(), clock.monotonic()) == (1_000, 0.0)
    clock.advance(1.5)
    assert (clock.now_ms(), clock.monotonic()) == (2_500, 1.5)
    clock.advance(0)
    with pytest.raises(ValueError, match="jump"):
        clock.advance(-1)
    with pytest.raises(ValueError, match="jump"):
        clock.advance(float("nan"))


def test_a_jump_of_the_wall_clock_leaves_monotonic_alone() -> None:
    clock = VirtualClock(10_000)
    clock.jump(-5)
    assert (clock.now_ms(), clock.monotonic()) == (5_000, 0.0)


def test_many_small_steps_lose_nothing_between_threads() -> None:
    clock = VirtualClock(0)
    threads = [
        threading.Thread(target=lambda: [clock.advance(0.0001) for _ in range(1000)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (clock.now_ms(), clock.monotonic()) == (400, 0.4)
