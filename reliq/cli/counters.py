"""What a plug-in counted, for its own command: `reliq once counters`, `reliq idem counters`."""

from __future__ import annotations

import click

from reliq.cli.show import document, table
from reliq.cli.target import Target
from reliq.counting import DAYS, Tally


def show_counters(target: Target, tally: Tally) -> None:
    """What all processes of the app counted, today and in the days before."""
    days = tally.read(target.engine)
    if target.json:
        document(
            {"counts": list(tally.counts), "days": {day: dict(counted) for day, counted in days.items()}}
        )
        return
    if not days:
        click.echo(f"Nothing was counted in the last {DAYS} days.")
        return
    shown = list(days)[:DAYS]
    rows = [(count, *(days[day].get(count, 0) for day in shown)) for count in tally.counts]
    table(("count", *shown), rows)
    click.echo("By day, UTC; of the last seconds, what a process has not written yet is missing.", err=True)
