"""How data is shown: a table on a terminal, aligned text in a pipe, one JSON document with --json."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
import msgspec

from reliq.log import escape
from reliq.policy.redaction import redact
from reliq.ports.values import ErrorInfo, Record

# Words whose colour says something; the words themselves say it as well.
_COLOURS = {
    "ready": "cyan",
    "due": "blue",
    "leased": "yellow",
    "done": "green",
    "failed": "red",
    "dropped": "magenta",
    "live": "green",
    "dead": "red",
    "ok": "green",
    "warn": "yellow",
    "bad": "red",
}


def document(data: Any) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(data, ensure_ascii=False, indent=2, default=str))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> None:
    """Rows under their columns; numbers to the right."""
    cells = [[cell(value) for value in row] for row in rows]
    numeric = [all(_is_number(row[i]) for row in cells) if cells else False for i in range(len(columns))]
    if sys.stdout.isatty():
        _rich_table(columns, cells, numeric, title)
        return
    if title:
        click.echo(f"{title}:")
    widths = [max([len(name), *(len(row[i]) for row in cells)]) for i, name in enumerate(columns)]
    for row in [list(columns), *cells]:
        parts = [
            text.rjust(width) if number else text.ljust(width)
            for text, width, number in zip(row, widths, numeric, strict=True)
        ]
        click.echo("  ".join(parts).rstrip())


def cell(value: object) -> str:
    """A value as one cell: nothing that steers the terminal, no password; `-` for none."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return redact(escape(str(value), 200))


def lines(texts: Iterable[str], *, headline: bool = True) -> None:
    """Prose; on a terminal the first line is bold."""
    for index, text in enumerate(texts):
        click.secho(text, bold=True) if headline and index == 0 else click.echo(text)


def moment_utc(ms: int | None) -> str | None:
    """A moment for machines: ISO 8601, UTC, milliseconds."""
    if ms is None:
        return None
    return datetime.fromtimestamp(ms / 1000, tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def record_data(record: Record) -> dict[str, Any]:
    """A record for --json: times in ISO 8601, no arguments, no result."""
    return {
        "id": record.id,
        "task": record.task,
        "queue": record.queue,
        "state": record.state,
        "reason": record.reason,
        "priority": record.priority,
        "published": moment_utc(record.published),
        "due": moment_utc(record.due),
        "expires": moment_utc(record.expires),
        "claimed": moment_utc(record.claimed),
        "ended": moment_utc(record.ended),
        "kept_until": moment_utc(record.gone),
        "owner": record.owner,
        "attempt": record.attempt,
        "retries": record.retries,
        "crashes": record.crashes,
        "snoozes": record.snoozes,
        "life": record.life,
        "alone": record.alone,
        "cancel": record.cancel,
        "error": error_data(record.error),
        "transitions": [
            {
                "at": moment_utc(step.at),
                "to": step.to,
                "reason": step.reason,
                "owner": step.owner,
                "attempt": step.attempt,
                "due": moment_utc(step.due),
                "error": error_data(step.error),
            }
            for step in record.transitions
        ],
    }


def error_data(error: bytes | None) -> dict[str, Any] | None:
    """A recorded error as a dictionary."""
    if not error:
        return None
    try:
        info = msgspec.msgpack.decode(error, type=ErrorInfo)
    except msgspec.DecodeError:
        return {"kind": "undecodable", "message": "", "traceback": None}
    return {"kind": info.kind, "message": info.message, "traceback": info.traceback}


def _rich_table(
    columns: Sequence[str], cells: Sequence[Sequence[str]], numeric: Sequence[bool], title: str
) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    view = Table(title=title or None, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for name, number in zip(columns, numeric, strict=True):
        view.add_column(name, justify="right" if number else "left", overflow="fold", header_style="dim")
    for row in cells:
        view.add_row(*(Text(text, style=_COLOURS.get(text, "")) for text in row))
    Console(highlight=False).print(view)


def _is_number(text: str) -> bool:
    return text == "-" or text.replace(",", "").replace(".", "", 1).isdigit()
