"""`reliq why ID`."""

from __future__ import annotations

import time

import click

from reliq.cli.failure import nothing_found
from reliq.cli.show import document, lines, moment_utc, record_data
from reliq.cli.target import Target, common_options, json_option, pass_target


@click.command()
@click.argument("id")
@common_options
@json_option
@pass_target
def command(target: Target, id: str) -> None:
    """Tell the story of a message: where it is, each attempt, what comes next."""
    from reliq.story import held_keys, tell

    engine = target.engine
    record = engine.get(id)
    if record is None:
        raise not_known(id, engine.url)
    found = ((key, engine.store_get(key)) for key in held_keys(record))
    holds = [(key, value) for key, value in found if value is not None and value.holder == id]
    if target.json:
        held = [{"key": key, "expires": moment_utc(value.expires)} for key, value in holds]
        document({**record_data(record), "holds": held})
        return
    lines(tell(record, time.time_ns() // 1_000_000, holds=holds, flags=target.flags))


def not_known(id: str, url: str) -> click.exceptions.Exit:
    """The answer to an id without a record; to be raised."""
    return nothing_found(
        f"There is no record of message {id!r} on {url}. Possible reasons:",
        "- its record is past its life (result_ttl; keep_done where results are ignored; dead_letter_ttl)",
        "- somebody removed it (reliq dlq rm)",
        "- its publish was refused, or never reached this broker",
        "- it is on another broker or in another file: the worker's banner and `reliq config` show which",
    )
