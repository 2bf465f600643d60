"""What the tasks of both sides do.  Only the standard library is imported here."""

from __future__ import annotations

from collections.abc import Callable
from time import sleep
from typing import Any

from benchmarks.race.apps.notes import open_journal
from benchmarks.race.apps.work import no_op as note_run

FOR_EVER = 3600.0


def no_op(index: int) -> None:
    """Its argument makes each call another one."""
    note_run()


def victim(key: str) -> None:
    """The first run waits to be killed; any other ends at once."""
    notes = open_journal()
    again = any(fact.kind == "started" and fact.id == key for fact in _read(notes))
    notes.note("started", key)
    if not again:
        sleep(FOR_EVER)
    notes.note("ended", key)


def _read(notes: Any) -> Any:
    from benchmarks.race.apps.notes import load

    return load().read(notes.path)


TASKS: dict[str, Callable[..., Any]] = {"no_op": no_op, "victim": victim}
