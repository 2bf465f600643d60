"""The command `reliq demo`."""

from __future__ import annotations

import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import click

from reliq.cli.target import Target, pass_target
from reliq.demo.display import open_display
from reliq.demo.plan import make_plan
from reliq.demo.report import next_commands, proof_lines, table
from reliq.demo.run import Outcome, run_demo
from reliq.demo.sources import source_files
from reliq.errors import ConfigError
from reliq.policy.redaction import redact

_STOPS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


@click.command("demo")
@click.option(
    "--broker",
    "url",
    metavar="URL",
    help="A broker that several processes can use; default: a new SQLite file.",
)
@click.option(
    "--seed",
    type=int,
    help="Draw the same duplicates, troubles and moments to kill as the demo that told this seed.",
)
@click.option(
    "--sabotage", is_flag=True, help="Forge one settlement; the proof must notice, and the exit code is 1."
)
@click.option("--files", type=int, hidden=True, help="Only so many files, drawn by the seed.")
@click.option("--keep", is_flag=True, help="Leave the database and say what to try with it.")
@pass_target
def demo(
    target: Target, url: str | None, seed: int | None, sabotage: bool, keep: bool, files: int | None
) -> None:
    """Count the standard library with workers that are killed while they count, and prove the sum.

    One task per source file, two workers, kills, retries, duplicates and crashing tasks; then the totals from the
    tasks' own journals against one plain pass over the same files.  Takes less than a minute.
    """
    begun = time.monotonic()
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    paths = source_files()
    if files is not None:
        paths = random.Random(seed).sample(paths, min(files, len(paths)))
    display = open_display(sys.stdout)
    display.say(
        f"reliq demo, seed {seed} (`--seed {seed}`: the same duplicates, troubles and moments to kill)"
    )
    for signum in _STOPS:  # as Ctrl-C does: the workers must not outlive the demo
        signal.signal(signum, _interrupt)
    folder = Path(tempfile.mkdtemp(prefix="reliq-demo-"))
    try:
        url = url or target.url or f"sqlite:///{folder}/demo.sqlite3"
        outcome = run_demo(make_plan(paths, seed), url=url, folder=folder, sabotage=sabotage, display=display)
    except BaseException as error:
        # A failure may be worth a look.  Somebody who stopped it has seen enough, unless it is to be kept.
        begun_at_all = (folder / "journals").exists()
        keep = begun_at_all and (
            keep or (isinstance(error, Exception) and not isinstance(error, ConfigError))
        )
        if keep:
            click.echo(f"What there is of it is left in {folder}", err=True)
        raise
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
        display.close()
    _tell(outcome, url if keep else None, time.monotonic() - begun)
    if not outcome.proof.holds:
        raise click.exceptions.Exit(1)


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def _tell(outcome: Outcome, kept: str | None, seconds: float) -> None:
    click.echo()
    for line in (*table(outcome.tally), "", *proof_lines(outcome.proof), ""):
        click.echo(line)
    verdict = "the sum is proved" if outcome.proof.holds else "THE PROOF FAILED: the sum is wrong"
    click.echo(f"{verdict}, after {len(outcome.kills)} killed workers and {seconds:.0f} s")
    if kept is not None:
        click.echo("\nThe database is left for you to look at:")
        for line in next_commands(outcome, redact(kept)):
            click.echo(line)
