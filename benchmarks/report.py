"""What a run found, for people and for programs."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from benchmarks.figures import Figures, readable
from benchmarks.goals import goals
from benchmarks.sqlite import Settings

SIDES = {
    "huey": "SqliteHuey, fsync=False (synchronous OFF, WAL), results=False, one worker thread; at most once",
    "bare loop": "one table, WAL, synchronous as stated, batches of 100 decoded, run, settled with the next claim",
    "reliq": "?durability= as stated, results off, late settlement, one slot per process, all rules on",
    "off": "synchronous OFF: survives a crash of the process, not of the machine",
    "normal": "WAL with synchronous NORMAL: a power failure may take the last moments",
    "full": "synchronous FULL: what is confirmed is on the disk",
}
_WORDS = {True: "met", False: "MISSED", None: "not measured"}


def versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "reliq-queue": version("reliq-queue"),
        "huey": version("huey"),
        "msgspec": version("msgspec"),
        "system": f"{platform.system()} {platform.release()}, {os.cpu_count()} cores",
    }


def as_data(figures: Figures, settings: Settings) -> dict[str, Any]:
    """Everything, for `--json`."""
    return {
        "versions": versions(),
        "settings": asdict(settings),
        "sides": SIDES,
        "figures": [
            {"name": f.name, "unit": f.unit, "median": f.median, "spread": f.spread, "samples": f.samples}
            for f in figures
        ],
        "goals": [
            {
                "goal": goal.text,
                "value": goal.value(figures),
                "wanted": f"{goal.sign} {goal.wanted}",
                "met": goal.met(figures),
            }
            for goal in goals()
        ],
    }


def as_text(figures: Figures, settings: Settings) -> Iterator[str]:
    """The tables."""
    yield "  ".join(f"{name} {value}" for name, value in versions().items())
    yield "  ".join(f"{name}={value}" for name, value in asdict(settings).items())
    for name, meaning in SIDES.items():
        yield f"  {name:<10} {meaning}"
    yield ""
    yield f"{'figure':<52}{'median':>12}  {'unit':<12}{'spread':>7}"
    for figure in figures:
        yield f"{figure.name:<52}{readable(figure.median):>12}  {figure.unit:<12}{figure.spread:>6.0%}"
    yield ""
    yield f"{'goal':<52}{'figure':>12}  {'wanted':<12}"
    for goal in goals():
        value = goal.value(figures)
        shown = "" if value is None else readable(value)
        yield f"{goal.text:<52}{shown:>12}  {goal.sign} {goal.wanted:<9g}{_WORDS[goal.met(figures)]}"
