"""Celery's worker flags: those that work under another name, and an answer to the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from reliq.compat.flags import ALONE, WORKER_FLAGS
from reliq.compat.names import Name

F = TypeVar("F", bound=Callable[..., Any])


def celery_flags(command: F) -> F:
    """Let a command answer for the flags of `celery worker`; none of them is in its help."""
    for flag, entry in WORKER_FLAGS.items():
        if entry.status != "works":
            command = click.option(flag, hidden=True, expose_value=False, **_shape(flag, entry))(command)
    return command


def _shape(flag: str, entry: Name) -> dict[str, Any]:
    def answer(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        given = value is not None and value is not False
        if given and not entry.allows(value):
            raise click.UsageError(entry.answer(flag), ctx)

    return {"callback": answer, "is_flag": True} if flag in ALONE else {"callback": answer, "metavar": "X"}
