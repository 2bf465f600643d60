"""Exceptions as data: bounded, storable, and with the frames of the user's own code."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import TracebackType

from reliq.policy.decide import storable, text_of
from reliq.ports.values import ErrorInfo

_MAX_TRACEBACK = 16_000
_MAX_MESSAGE = 2_000

# The way from a worker to a task's function: these files, and `Task.__call__`.
_HERE = Path(__file__).parent
_ON_THE_WAY = frozenset(
    str(path)
    for path in (
        _HERE / "runner.py",
        _HERE / "limits.py",
        _HERE.parent / "policy" / "chain.py",
        _HERE.parent / "tasks.py",
    )
)


def own_frames(frames: TracebackType | None) -> TracebackType | None:
    """The traceback without the frames that lead from the worker to the task; as it is when there are no others."""
    kept = []
    step = frames
    while step is not None:
        if step.tb_frame.f_code.co_filename not in _ON_THE_WAY:
            kept.append(step)
        step = step.tb_next
    found: TracebackType | None = None
    for step in reversed(kept):
        found = TracebackType(found, step.tb_frame, step.tb_lasti, step.tb_lineno)
    return found or frames


def describe(error: BaseException, *, frames: bool = True) -> ErrorInfo:
    """An exception as data, with its traceback, both cut to a bounded length."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return ErrorInfo(name, storable(text_of(error), _MAX_MESSAGE), _written(error) if frames else None)


def _written(error: BaseException) -> str:
    text = "".join(traceback.format_exception(error))
    if len(text) > _MAX_TRACEBACK:
        text = text[: _MAX_TRACEBACK // 2] + "\n... cut ...\n" + text[-_MAX_TRACEBACK // 2 :]
    return storable(text)
