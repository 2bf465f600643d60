"""`reliq queues`."""

from __future__ import annotations

import time

import click

from reliq.cli.show import document, moment_utc, table
from reliq.cli.target import Target, common_options, json_option, pass_target
from reliq.ports.values import Depth


@click.command()
@click.argument("names", nargs=-1, metavar="[QUEUE]...")
@common_options
@json_option
@pass_target
def command(target: Target, names: tuple[str, ...]) -> None:
    """Show how much waits in each queue; without names, in all that have live messages."""
    engine = target.engine
    depths = [engine.depth(name) for name in names or engine.queues()]
    if target.json:
        document([depth_data(depth) for depth in depths])
    elif depths:
        show_depths(depths)
    else:
        click.echo("No queue has live messages.")


def depth_data(depth: Depth) -> dict[str, object]:
    return {
        "queue": depth.queue,
        "ready": depth.ready,
        "due": depth.due,
        "leased": depth.leased,
        "oldest_ready": moment_utc(depth.oldest),
    }


def show_depths(depths: list[Depth], title: str = "") -> None:
    """A table of queues."""
    from reliq.story import span

    now = time.time_ns() // 1_000_000
    rows = [
        (d.queue, d.ready, d.due, d.leased, span(max(0, now - d.oldest)) if d.oldest else None)
        for d in depths
    ]
    table(("queue", "ready", "due", "running", "oldest waits"), rows, title=title)
