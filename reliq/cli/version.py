"""`reliq version`."""

from __future__ import annotations

import platform

import click

from reliq.cli.show import document
from reliq.cli.target import Target, common_options, json_option, pass_target


@click.command()
@common_options
@json_option
@pass_target
def command(target: Target) -> None:
    """Show the versions of reliq, Python and SQLite."""
    import sqlite3

    import reliq

    versions = {
        "reliq": reliq.__version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        "platform": platform.platform(terse=True),
    }
    if target.json:
        document(versions)
    else:
        click.echo("  ".join(f"{name} {version}" for name, version in versions.items()))
