"""What a race found, for people and for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from benchmarks.figures import Figure, Figures, readable
from benchmarks.race.goals import goals
from benchmarks.race.known import behind
from benchmarks.race.run import Outcome
from benchmarks.race.settings import Settings
from benchmarks.race.sides import Side
from reliq.settings import SETTINGS

_WORDS = {True: "met", False: "MISSED", None: "not measured"}
_SHOWN = ("reliq-queue", "redis", "hiredis", "msgspec")
_RELIQ = ("lease", "renew_every", "max_retries", "max_crashes", "keep_done", "threads")


def machine(found: Outcome) -> str:
    return (
        f"Python {platform.python_version()}, {found.redis} without persistence, "
        f"{platform.system()} {platform.release()}, {os.cpu_count()} cores"
    )


def reliq_settings() -> dict[str, Any]:
    """The settings that decide what a worker promises; the timed workers and those of F1 change none of them."""
    return {setting.name: setting.default for setting in SETTINGS if setting.name in _RELIQ}


def as_data(found: Outcome, settings: Settings) -> dict[str, Any]:
    """Everything, for `--json`."""
    peers = _peers(found)
    return {
        "machine": machine(found),
        "settings": asdict(settings),
        "reliq": reliq_settings(),
        "sides": {
            side.name: {
                "acks": side.acks,
                "settings": side.settings,
                "share": side.share,
                "versions": found.versions[side.name],
            }
            for side in found.sides
        },
        "figures": [
            {"name": f.name, "unit": f.unit, "median": f.median, "spread": f.spread, "samples": f.samples}
            for f in found.figures
        ],
        "goals": [
            {
                "goal": goal.text,
                "value": goal.value(found.figures),
                "wanted": f"{goal.sign} {goal.wanted}",
                "met": goal.met(found.figures),
            }
            for goal in goals(found.figures, peers)
        ],
        "behind": list(behind(found.figures, peers)),
        "failures": found.failures,
    }


def as_text(found: Outcome, settings: Settings) -> Iterator[str]:
    """The tables."""
    yield machine(found)
    yield "  ".join(f"{name}={value}" for name, value in asdict(settings).items())
    yield ""
    yield from _sides(found)
    yield "reliq's workers: " + ", ".join(f"{name} {value}" for name, value in reliq_settings().items())
    yield ""
    yield from _matrix(found)
    yield ""
    peers = _peers(found)
    yield f"{'goal':<54}{'figure':>12}  {'wanted':<12}"
    for goal in goals(found.figures, peers):
        value = goal.value(found.figures)
        shown = "" if value is None else readable(value)
        yield f"{goal.text:<54}{shown:>12}  {goal.sign} {goal.wanted:<9g}{_WORDS[goal.met(found.figures)]}"
    for sentence in behind(found.figures, peers):
        yield f"WARNING: {sentence}"
    for failure in found.failures:
        yield f"FAILED: {failure}"


def _sides(found: Outcome) -> Iterator[str]:
    for side in found.sides:
        versions = ", ".join(f"{name} {version}" for name, version in _versions(found, side))
        yield f"{side.name:<12}{side.acks:<14}{side.settings}"
        yield f"{'':<26}{versions}; {side.share:g} of the messages"


def _versions(found: Outcome, side: Side) -> Iterator[tuple[str, str]]:
    pinned = [requirement.partition("==")[0] for requirement in side.requirements] or _SHOWN
    for name in pinned:
        if name in found.versions[side.name]:
            yield name, found.versions[side.name][name]


def _matrix(found: Outcome) -> Iterator[str]:
    """A line per quantity, a column per side: the median, and the spread over the rounds."""
    names = [side.name for side in found.sides]
    by_name = {figure.name: figure for figure in found.figures}
    yield f"{'median (spread)':<44}{'':<14}" + "".join(f"{name:>18}" for name in names)
    for what, unit in quantities(found.figures, names).items():
        cells = (_cell(by_name.get(f"{what}, {name}")) for name in names)
        yield f"{what:<44}{unit:<14}" + "".join(f"{cell:>18}" for cell in cells)
    if "reliq" in names:
        yield from _ratios(found, names)


def _ratios(found: Outcome, names: list[str]) -> Iterator[str]:
    yield "reliq / the side"
    for what in quantities(found.figures, names):
        ratios = [found.figures.ratio(f"{what}, reliq", f"{what}, {name}") for name in names]
        if sum(ratio is not None for ratio in ratios) > 1:
            cells = ("" if ratio is None else f"{ratio:.3g}" for ratio in ratios)
            yield f"{what:<44}{'':<14}" + "".join(f"{cell:>18}" for cell in cells)


def quantities(figures: Figures, sides: list[str]) -> dict[str, str]:
    """Each quantity that some side was measured by, with its unit."""
    found: dict[str, str] = {}
    for figure in figures:
        what, _, side = figure.name.rpartition(", ")
        if side in sides:
            found.setdefault(what, figure.unit)
    return found


def _cell(figure: Figure | None) -> str:
    return "" if figure is None else f"{readable(figure.median)} ({figure.spread:.0%})"


def _peers(found: Outcome) -> list[str]:
    return [side.name for side in found.sides if side.peer]
