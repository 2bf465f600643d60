"""`reliq result ID`."""

from __future__ import annotations

import json
import shlex
from typing import Any

import click
import msgspec

from reliq.cli.failure import ERROR, TIMEOUT, Silent
from reliq.cli.show import document, error_data, record_data
from reliq.cli.target import Target, common_options, json_option, pass_target
from reliq.cli.why import not_known
from reliq.log import escape
from reliq.ports.values import ENDED, Record
from reliq.wire.message import Envelope


@click.command()
@click.argument("id")
@click.option(
    "--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait so long for it to end."
)
@common_options
@json_option
@pass_target
def command(target: Target, id: str, timeout: float | None) -> None:
    """Show the result of a message, as JSON.

    Exit code 1 when it failed or was dropped, 5 when there is no record, 6 when it has not ended.
    """
    engine = target.engine
    record = _wait(target, id, timeout) if timeout else engine.get(id)
    if record is None:
        raise not_known(id, engine.url)
    if record.state in ENDED:
        show_ended(target, record)
        return
    if target.json:
        document(record_data(record))
    else:
        reason = f" ({escape(record.reason)})" if record.reason else ""
        click.echo(f"{id} has not ended: it is {record.state}{reason}", err=True)
        click.echo(f"next:  reliq why{target.flags} {shlex.quote(id)}", err=True)
    raise Silent(TIMEOUT)


def show_ended(target: Target, record: Record) -> None:
    """The result on stdout; a failure as an error block and exit code 1."""
    value = json.loads(record.value) if record.value is not None else None
    if target.json:
        document({**record_data(record), "result": value})
    elif record.state == "done":
        if value is None and not _keeps_result(record):
            click.echo(f"{record.id} is done; its task keeps no result (ignore_result)", err=True)
        else:
            click.echo(json.dumps(value, ensure_ascii=False))
    else:
        _show_failure(target, record)
    if record.state != "done":
        raise Silent(ERROR)


def _show_failure(target: Target, record: Record) -> None:
    verb = "failed" if record.state == "failed" else "was dropped"
    click.secho("error: ", fg="red", bold=True, nl=False, err=True)
    click.echo(
        f"{escape(record.task)} ({record.id}) {verb}: {escape(record.reason or 'no reason given')}", err=True
    )
    info: dict[str, Any] | None = error_data(record.error)
    if info and info["traceback"] and target.traceback:
        for line in info["traceback"].splitlines():
            click.echo(f"  {escape(line)}", err=True)
    click.echo(f"next:  reliq why{target.flags} {shlex.quote(record.id)}", err=True)


def _keeps_result(record: Record) -> bool:
    try:
        return msgspec.msgpack.decode(record.payload, type=Envelope).keep_result
    except msgspec.DecodeError:
        return True


def _wait(target: Target, id: str, timeout: float) -> Record | None:
    import time

    deadline = time.monotonic() + timeout
    while True:
        record = target.engine.wait(id, max(0.0, min(1.0, deadline - time.monotonic())))
        if record is None or record.state in ENDED or time.monotonic() >= deadline:
            return record
