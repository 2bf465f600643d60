"""`reliq cancel ID`."""

from __future__ import annotations

import click

from reliq.cli.failure import ERROR, NOTHING, Silent
from reliq.cli.show import document
from reliq.cli.target import Target, common_options, json_option, pass_target
from reliq.cli.why import not_known


@click.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--reason", default="cancelled", show_default=True, help="Shown by `why`.")
@common_options
@json_option
@pass_target
def command(target: Target, ids: tuple[str, ...], reason: str) -> None:
    """Drop waiting messages; ask the workers of running ones to stop them."""
    engine = target.engine
    answers = {id: engine.cancel(id, reason=reason) for id in ids}
    if target.json:
        document(
            [{"id": id, "status": answer.status, "state": answer.state} for id, answer in answers.items()]
        )
    for id, answer in answers.items() if not target.json else ():
        if answer.status == "cancelled":
            click.echo(f"{id} is dropped: {reason}")
        elif answer.status == "requested":
            click.echo(f"{id} is running; its worker was asked to stop it")
        elif answer.status == "ended":
            click.echo(f"{id} has ended before: {answer.state}")
        else:
            not_known(id, engine.url)
    statuses = {answer.status for answer in answers.values()}
    if "unknown" in statuses:
        raise Silent(NOTHING)
    if "ended" in statuses:
        raise Silent(ERROR)
