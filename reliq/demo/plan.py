"""What a run of the demo will do, decided by its seed alone: which file meets which trouble, when whom to kill."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

_DUPLICATES = 10  # one file in so many is published twice
_HICCUPS = 50  # one in so many fails at its first run
_CRASHES = 3
_POISONS = 2
_KILLS = 6


@dataclass(frozen=True, slots=True)
class Plan:
    """The calls to publish, in order, and the shares of work done after which a worker is killed."""

    seed: int
    paths: tuple[str, ...]
    calls: tuple[tuple[str, str], ...]  # (path, trouble), duplicates included
    poisons: int
    kills: tuple[float, ...]

    @property
    def duplicates(self) -> int:
        return len(self.calls) - len(self.paths)


def make_plan(paths: Sequence[str], seed: int) -> Plan:
    dice = random.Random(seed)
    troubled = dice.sample(paths, len(paths) // _HICCUPS + _CRASHES)
    trouble = {path: "crash" if i < _CRASHES else "hiccup" for i, path in enumerate(troubled)}
    calls = [(path, trouble.get(path, "")) for path in dice.sample(paths, len(paths))]
    for path in dice.sample(paths, len(paths) // _DUPLICATES):
        calls.insert(dice.randint(0, len(calls)), (path, trouble.get(path, "")))
    return Plan(
        seed=seed,
        paths=tuple(paths),
        calls=tuple(calls),
        poisons=_POISONS,
        kills=tuple((i + dice.uniform(0.6, 1.0)) / (_KILLS + 1) for i in range(_KILLS)),
    )
