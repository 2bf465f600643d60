"""Random walks that a number names: walk 17 is the same walk everywhere.  One that fails is told in few steps.

A walk is drawn whole before its first step is taken, and a step fits any state: what is left of a walk when steps are
taken out of it is a walk as well.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

#: Takes the steps from an empty start to their end, and raises where something does not hold.
Take: TypeAlias = Callable[[list[Any]], None]

PATIENCE = 120.0  # seconds for making a failure short


def numbers(default: int) -> range:
    """Which walks: as many as are named in `RELIQ_TEST_WALKS`, from the number in `RELIQ_TEST_FIRST_WALK` on."""
    first = int(os.environ.get("RELIQ_TEST_FIRST_WALK") or 0)
    return range(first, first + (int(os.environ.get("RELIQ_TEST_WALKS") or 0) or default))


def walk(take: Take, draw: Callable[[random.Random], list[Any]], numbers: Iterable[int]) -> None:
    """Take the walks of these numbers; `AssertionError` tells of the first that fails."""
    for number in numbers:
        steps = draw(random.Random(number))
        try:
            take(steps)
        except Exception as error:
            # A mutant is dead at the first failure; nobody reads its shortest form.
            short = steps if "RELIQ_TEST_MUTANT" in os.environ else shortened(take, steps, type(error))
            told = "\n".join(f"  {step}" for step in short)
            why = failure(take, short) or error
            raise AssertionError(
                f"walk {number} fails, in short by these {len(short)} of its {len(steps)} steps:\n{told}\n{why}"
            ) from why


def failure(take: Take, steps: list[Any]) -> Exception | None:
    """What comes of a walk that should fail."""
    try:
        take(steps)
    except Exception as error:
        return error
    return None


def shortened(
    take: Take, steps: list[Any], kind: type[Exception], *, patience: float = PATIENCE
) -> list[Any]:
    """Steps that still fail in this kind, none of which can be left out (while patience lasts).

    Ever smaller parts are left out, as in Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input"
    (2002), without the complements.
    """
    until = time.monotonic() + patience
    size = len(steps) // 2
    while size > 0:
        start, found = len(steps) - size, False
        while start > -size and time.monotonic() < until:  # the end first: nothing depends on it
            fewer = steps[: max(0, start)] + steps[max(0, start + size) :]
            if len(fewer) < len(steps) and type(failure(take, fewer)) is kind:
                steps, found = fewer, True
            start -= size
        size = size if found and size == 1 else size // 2
    return steps
