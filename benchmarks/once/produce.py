"""The producer of a side, in the side's own environment."""

from __future__ import annotations

from typing import Any

from benchmarks.once.sides import APPS
from benchmarks.race.rig import Rig
from benchmarks.race.sides import Side


def produce(rig: Rig, side: Side, *arguments: object, timeout: float = 300.0) -> Any:
    """What `benchmarks.once.apps.produce` measured."""
    words = ["-m", f"{APPS}.produce", side.app, *map(str, arguments)]
    with rig.program(side, words, name="producer") as running:
        return running.answer(timeout)
