"""`reliq status`."""

from __future__ import annotations

import time

import click

from reliq.cli.queues import depth_data, show_depths
from reliq.cli.show import document, moment_utc, table
from reliq.cli.target import Target, common_options, json_option, pass_target


@click.command()
@common_options
@json_option
@pass_target
def command(target: Target) -> None:
    """Show worker processes, queues, and how many messages are in each state.

    What has ended counts for good, also when its record is gone.
    """
    from reliq.story import span

    engine = target.engine
    owners, depths, books = engine.owners(), [engine.depth(q) for q in engine.queues()], engine.audit()
    now = time.time_ns() // 1_000_000
    if target.json:
        document(
            {
                "broker": engine.url,
                "workers": [
                    {
                        "owner": o.owner,
                        "state": _state(o.state, o.expires, now),
                        "since": moment_utc(o.since),
                        "lease_until": moment_utc(o.expires),
                        "held": o.held,
                        "about": dict(o.about),
                    }
                    for o in owners
                ],
                "queues": [depth_data(d) for d in depths],
                "accepted": books.accepted,
                "states": dict(books.states),
            }
        )
        return
    click.echo(f"broker {engine.url}")
    click.echo()
    if owners:
        rows = [
            (
                o.owner,
                _state(o.state, o.expires, now),
                span(max(0, now - o.since)),
                f"for {span(o.expires - now)}" if o.expires > now else f"over since {span(now - o.expires)}",
                o.held,
                ", ".join(f"{key}={value}" for key, value in o.about.items()),
            )
            for o in owners
        ]
        table(("worker process", "state", "up", "lease", "holds", "about"), rows, title="Workers")
    else:
        click.echo(f"No worker is connected. Start one: reliq worker -A {target.named_app or 'APP'}")
    click.echo()
    if depths:
        show_depths(depths, "Queues")
        served = {queue for o in owners for queue in o.about.get("queues", "").split(",")}
        unserved = [d.queue for d in depths if d.ready and owners and any(served) and d.queue not in served]
        if unserved:
            click.echo(f"No worker serves {', '.join(map(repr, unserved))}.")
    else:
        click.echo("No queue has live messages.")
    click.echo()
    counts = ", ".join(f"{count:,} {state}" for state, count in books.states.items() if count)
    click.echo(f"{books.accepted:,} accepted since the beginning: {counts or 'nothing yet'}")


def _state(state: str, expires: int, now: int) -> str:
    """A live owner past its lease may still renew, but nobody should count on it."""
    return "late" if state == "live" and expires < now else state
