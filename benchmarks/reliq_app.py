"""The app that is measured, with the tasks the measures need."""

from __future__ import annotations

import asyncio
import os
from functools import lru_cache
from pathlib import Path

from benchmarks.tally import FOLDER, Stamps, Tally
from reliq import Reliq, Task

SAMPLES = 10_000  # room for so many stamps

_notes = Tally()


def build(broker: str | None = None) -> Reliq:
    """An app with the measured tasks; without `broker` it is the environment's."""
    app = Reliq("bench", broker=broker, ignore_result=True)
    app.task(name="no_op")(no_op)
    app.task(name="stamp")(stamp)
    app.task(name="nap")(nap)
    return app


def task(app: Reliq, name: str) -> Task[..., object]:
    return app.find_task(name)


def no_op() -> None:
    _notes.hit()


def stamp(index: int) -> None:
    _stamps().stamp(index)


async def nap(index: int) -> None:
    await asyncio.sleep(1.0)
    _stamps().stamp(index)


@lru_cache(maxsize=1)
def _stamps() -> Stamps:
    return open_stamps(Path(os.environ[FOLDER]))


def open_stamps(folder: Path) -> Stamps:
    return Stamps(folder / "stamps", SAMPLES)


app = build()
