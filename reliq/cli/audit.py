"""`reliq audit`."""

from __future__ import annotations

import click

from reliq.cli.failure import ERROR, Silent
from reliq.cli.show import document
from reliq.cli.target import Target, common_options, json_option, pass_target

_ORDER = ("ready", "due", "leased", "done", "failed", "dropped")


@click.command()
@common_options
@json_option
@pass_target
def command(target: Target) -> None:
    """Check the broker's books: every accepted message is in exactly one state.

    Reads everything at one instant, also while workers run.  Exit code 1 when the books do not balance.
    """
    books = target.engine.audit()
    total = sum(books.states.values())
    if target.json:
        document(
            {
                "balanced": books.balanced,
                "accepted": books.accepted,
                "states": dict(books.states),
                "undecodable": books.undecodable,
                "broken": [{"id": id, "rule": rule} for id, rule in books.broken],
            }
        )
    else:
        states = sorted(books.states, key=lambda s: _ORDER.index(s) if s in _ORDER else len(_ORDER))
        parts = " + ".join(f"{books.states[state]:,} {state}" for state in states if books.states[state])
        equals = "=" if total == books.accepted else "!="
        click.echo(f"accepted {books.accepted:,} {equals} {total:,}{f' ({parts})' if parts else ''}")
        if books.undecodable:
            click.echo(f"and {books.undecodable:,} that cannot be decoded, kept as they came: reliq dlq list")
        for id, rule in books.broken:
            click.echo(f"{id}  {rule}")
        if books.balanced:
            click.secho("The books balance.", fg="green")
        else:
            missing = books.accepted - total
            said = [f"{abs(missing):,} {'missing' if missing > 0 else 'too many'}"] if missing else []
            said += [f"{len(books.broken):,} break a rule"] if books.broken else []
            click.secho(f"The books do not balance: {', '.join(said)}.", fg="red")
    if not books.balanced:
        raise Silent(ERROR)
