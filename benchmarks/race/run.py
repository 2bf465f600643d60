"""All rounds: in each, every measure, and in each of those every side takes its turn."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from benchmarks.figures import Figures, readable
from benchmarks.race.environments import python_of, versions_in
from benchmarks.race.interruption import ending_on_signals
from benchmarks.race.measures import MEASURES
from benchmarks.race.rig import Rig
from benchmarks.race.server import serving
from benchmarks.race.settings import Settings
from benchmarks.race.sides import Side, chosen

Say = Callable[[str], None]


@dataclass(slots=True)
class Outcome:
    """What a run found; `failures` are the measures that could not be made, and why."""

    sides: tuple[Side, ...]
    figures: Figures
    redis: str
    versions: dict[str, dict[str, str]]
    failures: list[str] = field(default_factory=list)


def run(settings: Settings, say: Say) -> Outcome:
    """The whole race.  Whatever was started has ended when this returns or raises."""
    sides = chosen(settings.only, settings.also)
    if unknown := set(settings.steps) - MEASURES.keys():
        raise ValueError(f"no measure is named {', '.join(sorted(unknown))}; there are {', '.join(MEASURES)}")
    with ending_on_signals(), tempfile.TemporaryDirectory(prefix="reliq-race-") as folder:
        versions = {side.name: versions_of(side, say) for side in sides}
        with serving() as server:
            rig = Rig(settings, server, Path(folder))
            found = Outcome(sides, rig.figures, server.version, versions)
            for number in range(1, settings.rounds + 1):
                _round(rig, number, found, say)
    return found


def versions_of(side: Side, say: Say) -> dict[str, str]:
    """What is installed for a side, which is installed first where need be."""
    say(f"environment of {side.name}")
    return versions_in(python_of(side.name.partition("-")[0], side.requirements))


def _round(rig: Rig, number: int, found: Outcome, say: Say) -> None:
    for name, measure in MEASURES.items():
        if (rig.settings.steps and name not in rig.settings.steps) or (measure.once and number > 1):
            continue
        for side in found.sides:
            if not measure.of(side):
                continue
            say(f"round {number} of {rig.settings.rounds}: {name}, {side.name}")
            begun, before = monotonic(), {figure.name: len(figure.samples) for figure in found.figures}
            try:
                measure.run(rig, side)
                say(f"    {monotonic() - begun:.0f} s")
                for figure in found.figures:  # also of use when the run is ended before its tables
                    if len(figure.samples) > before.get(figure.name, 0):
                        say(f"    {figure.name}: {readable(figure.samples[-1])} {figure.unit}")
            except (RuntimeError, TimeoutError) as error:
                found.failures.append(f"round {number}, {name}, {side.name}: {error}")
                say(found.failures[-1])
