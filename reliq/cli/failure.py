"""Exit codes, and the one block that an error is."""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING

import click

from reliq import errors

if TYPE_CHECKING:
    from reliq.cli.target import Target

OK, ERROR, USAGE, BROKER, APP, NOTHING, TIMEOUT = range(7)

_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (errors.AppNotFound, APP),
    (errors.ConfigError, USAGE),
    (errors.ResultTimeout, TIMEOUT),
    (errors.UnknownTask, NOTHING),
    (errors.UnknownResult, NOTHING),
    (errors.PublishRefused, ERROR),
    (errors.BrokerError, BROKER),
    (errors.OptionError, USAGE),
    (errors.ArgumentError, USAGE),
    (errors.InstantError, USAGE),
)

_NEXT: tuple[tuple[type[BaseException], str], ...] = (
    (errors.UnknownTask, "reliq tasks{flags}"),
    (errors.ArgumentError, "reliq tasks{flags} TASK   shows the signature"),
    (errors.UnknownSetting, "reliq config{flags}"),
    (errors.PublishRefused, ""),
    (errors.PublishUnknown, "reliq why{flags} {id}"),
    (errors.BrokerError, "reliq doctor{flags}"),
    (errors.TaskFailed, "reliq why{flags} {id}"),
    (errors.TaskDropped, "reliq why{flags} {id}"),
)


def code_of(error: BaseException) -> int:
    """The exit code that says what kind of thing went wrong."""
    if isinstance(error, errors.PublishRefused) and isinstance(error.__cause__, errors.BrokerError):
        return BROKER  # refused because the broker cannot be used, not because of what was published
    return next((code for kind, code in _CODES if isinstance(error, kind)), ERROR)


def report(error: Exception, target: Target) -> None:
    """Cause, evidence and next step on stderr; the traceback only when asked for."""
    from reliq.log import escape

    if target.traceback:
        click.echo("".join(traceback.format_exception(error)), err=True)
    known = isinstance(error, errors.ReliqError)
    text = str(error) if known else f"{type(error).__name__}: {error}"
    first, *evidence = (_shown(escape(line, 2_000)) for line in text.splitlines() or [type(error).__name__])
    click.secho("error: ", fg="red", bold=True, nl=False, err=True)
    click.echo(first, err=True)
    for line in evidence:
        click.echo(f"  {line}", err=True)
    following = (
        _next_step(error, target) if known else "the same again with --traceback shows where it happened"
    )
    if following:
        click.echo(f"next:  {following}", err=True)


class Silent(click.exceptions.Exit):
    """End with a code after everything has been said."""


def nothing_found(message: str, *reasons: str) -> Silent:
    """Say that there is nothing of that kind, and the possible reasons; to be raised."""
    click.secho("error: ", fg="red", bold=True, nl=False, err=True)
    click.echo(message, err=True)
    for reason in reasons:
        click.echo(f"  {reason}", err=True)
    return Silent(NOTHING)


def _next_step(error: Exception, target: Target) -> str:
    found = next((step for kind, step in _NEXT if isinstance(error, kind)), "")
    return found.format(flags=target.flags, id=getattr(error, "id", "ID"))


def _shown(line: str) -> str:
    from reliq.policy.redaction import redact

    line = redact(line)
    encoding = sys.stderr.encoding or "utf-8"
    return line.encode(encoding, "backslashreplace").decode(encoding)
