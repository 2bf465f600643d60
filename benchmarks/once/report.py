"""What a run found, for people and for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from benchmarks.figures import Figure, readable
from benchmarks.once.commands import NO_LOCK
from benchmarks.once.goals import commands_as_wanted, goals
from benchmarks.once.kills import as_killed
from benchmarks.once.run import Outcome
from benchmarks.once.settings import Settings
from benchmarks.once.sides import VARIANTS, VISIBILITY
from benchmarks.race.report import quantities, reliq_settings

_WORDS = {True: "met", False: "MISSED", None: "not measured"}
_SHOWN = ("reliq-queue", "celery", "celery-once", "kombu", "redis", "hiredis", "msgspec")


def judged(found: Outcome) -> Iterator[tuple[str, float | None, str, bool | None]]:
    """Each goal with its figure, what was wanted, and whether it is met."""
    for goal in goals():
        yield goal.text, goal.value(found.figures), f"{goal.sign} {goal.wanted:g}", goal.met(found.figures)
    if found.commands:
        for text, value, wanted in commands_as_wanted(found.commands):
            yield text, value, f"== {wanted:g}", value == wanted


def as_data(found: Outcome, settings: Settings) -> dict[str, Any]:
    """Everything, for `--json`."""
    return {
        "machine": _machine(found),
        "settings": asdict(settings),
        "reliq": reliq_settings(),
        "variants": VARIANTS,
        "sides": {
            side.name: {
                "acks": side.acks,
                "settings": side.settings,
                "killed with": dict(as_killed(side).environment),
                "versions": found.versions.get(side.name, {}),
            }
            for side in found.sides
        },
        "figures": [
            {"name": f.name, "unit": f.unit, "median": f.median, "spread": f.spread, "samples": f.samples}
            for f in found.figures
        ],
        "commands": {
            name: {
                what: {"client": seen.client, "lua": len(seen.lua)} for what, seen in asked._asdict().items()
            }
            for name, asked in found.commands.items()
        },
        "goals": [
            {"goal": text, "value": value, "wanted": wanted, "met": met}
            for text, value, wanted, met in judged(found)
        ],
        "failures": found.failures,
    }


def as_text(found: Outcome, settings: Settings) -> Iterator[str]:
    """The tables."""
    yield _machine(found)
    yield "  ".join(f"{name}={value}" for name, value in asdict(settings).items())
    yield ""
    yield from _sides(found, settings)
    yield ""
    for title, names in (
        ("without and with", tuple(VARIANTS)),
        ("beside", tuple(s.name for s in found.sides)),
    ):
        yield from _matrix(found, title, names)
    yield from _commands(found)
    yield f"{'goal':<54}{'figure':>12}  {'wanted':<12}"
    for text, value, wanted, met in judged(found):
        yield f"{text:<54}{'' if value is None else readable(value):>12}  {wanted:<12}{_WORDS[met]}"
    for failure in found.failures:
        yield f"FAILED: {failure}"


def _machine(found: Outcome) -> str:
    return (
        f"Python {platform.python_version()}, {found.redis} without persistence, "
        f"{platform.system()} {platform.release()}, {os.cpu_count()} cores"
    )


def _sides(found: Outcome, settings: Settings) -> Iterator[str]:
    for variant, meaning in VARIANTS.items():
        yield f"{variant:<18}{'late':<8}reliq, {meaning}"
    for side in found.sides:
        versions = found.versions.get(side.name, {})
        yield f"{side.name:<18}{side.acks:<8}{side.settings}"
        yield f"{'':<26}" + ", ".join(f"{name} {versions[name]}" for name in _SHOWN if name in versions)
    yield "reliq's workers: " + ", ".join(f"{name} {value}" for name, value in reliq_settings().items())
    yield (
        f"killed: workers with {settings.together} threads of which each runs a task; celery's prefetch multiplier "
        f"is 1 then, and its visibility_timeout {VISIBILITY} s (it comes with an hour)"
    )


def _matrix(found: Outcome, title: str, names: tuple[str, ...]) -> Iterator[str]:
    by_name = {figure.name: figure for figure in found.figures}
    rows = quantities(found.figures, list(names))
    if not rows:
        return
    yield f"{title + ': median (spread)':<44}{'':<14}" + "".join(f"{name:>18}" for name in names)
    for what, unit in rows.items():
        cells = (_cell(by_name.get(f"{what}, {name}")) for name in names)
        yield f"{what:<44}{unit:<14}" + "".join(f"{cell:>18}" for cell in cells)
    yield ""


def _commands(found: Outcome) -> Iterator[str]:
    if not found.commands:
        return
    plain = len(found.commands[NO_LOCK].settle.client)
    heads = ("publish", "a duplicate", "added to a settlement")
    yield f"{'commands of the client (and of its scripts)':<44}" + "".join(f"{head:>24}" for head in heads)
    for name, (publish, duplicate, settle) in found.commands.items():
        cells = (
            *(f"{len(seen.client)} ({len(seen.lua)})" for seen in (publish, duplicate)),
            f"{len(settle.client) - plain} ({len(settle.lua)})",
        )
        yield f"{name:<44}" + "".join(f"{cell:>24}" for cell in cells)
    yield ""


def _cell(figure: Figure | None) -> str:
    return "" if figure is None else f"{readable(figure.median)} ({figure.spread:.0%})"
