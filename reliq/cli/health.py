"""`reliq health`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from reliq.cli.failure import ERROR, NOTHING, Silent
from reliq.cli.show import document
from reliq.cli.target import Target, common_options, json_option, pass_target


@click.command()
@click.option(
    "--file", "path", envvar="RELIQ_HEALTH_FILE", metavar="PATH", help="The worker's --health-file."
)
@click.option(
    "--max-age", default=30.0, show_default=True, metavar="SECONDS", help="How old a sign of life may be."
)
@common_options
@json_option
@pass_target
def command(target: Target, path: str | None, max_age: float) -> None:
    """Tell by exit code whether workers are well: 0 yes, 1 no, 5 there is none.

    Reads the files that the workers of this machine write, without importing an app.  With --broker it asks the broker
    whether any worker holds a lease.
    """
    answers = _from_broker(target) if target.url and path is None else _from_files(path, max_age)
    well = any(ok for ok, _, fatal in answers) and not any(fatal for _, _, fatal in answers)
    if target.json:
        document({"well": well, "workers": [{"well": ok, "why": why} for ok, why, _ in answers]})
    else:
        for ok, why, _ in answers:
            click.secho(why, fg="green" if ok else "red")
        if not answers:
            click.echo(
                "No worker is known here; start one with reliq worker, or name its file with --file", err=True
            )
    if not answers:
        raise Silent(NOTHING)
    if not well:
        raise Silent(ERROR)


def _from_files(path: str | None, max_age: float) -> list[tuple[bool, str, bool]]:
    """(well, why, whether that alone makes the answer no) for each worker of this machine."""
    from reliq.worker import health

    if path is not None:
        verdict = health.check(path, max_age=max_age)
        return [(verdict.well, verdict.why, not verdict.well)]
    answers = []
    for file in _files(health.runtime_folder()):
        verdict = health.check(file, max_age=max_age)
        if not verdict.well and health.is_gone(file):
            # A killed worker leaves its file; another may long have taken its place.
            answers.append((False, f"worker {_pid(file)} is gone without a farewell ({file})", False))
        else:
            answers.append((verdict.well, verdict.why, not verdict.well))
    return answers


def _from_broker(target: Target) -> list[tuple[bool, str, bool]]:
    now = time.time_ns() // 1_000_000
    answers = []
    for owner in target.engine.owners():
        left = (owner.expires - now) / 1000
        well = owner.state == "live" and left > 0
        lease = f"lease for {left:.0f} s" if left > 0 else f"lease over since {-left:.0f} s"
        answers.append(
            (well, f"worker process {owner.owner}: {owner.state}, {lease}, holds {owner.held}", False)
        )
    return answers


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(folder.glob("*-*.json"))
    except OSError:
        return []


def _pid(file: Path) -> int:
    return int(file.stem.rpartition("-")[2]) if file.stem.rpartition("-")[2].isdigit() else 0
