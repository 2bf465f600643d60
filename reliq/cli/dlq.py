"""`reliq dlq`: messages that failed for good."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click

from reliq.cli.failure import NOTHING, Silent, nothing_found
from reliq.cli.show import document, record_data, table
from reliq.cli.target import Target, common_options, json_option, pass_target
from reliq.errors import GuardRefused
from reliq.ports.values import Record

F = TypeVar("F", bound=Callable[..., Any])
_PAGE = 500


@click.group(no_args_is_help=True)
@common_options
def command() -> None:
    """Dead letters: messages that failed for good or were quarantined."""


def _filters(function: F) -> F:
    for name, text in (
        ("reason", "Only those whose reason begins so."),
        ("queue", "Only those of this queue."),
        ("task", "Only those of this task."),
    ):
        function = click.option(f"--{name}", help=text)(function)
    return function


@command.command("list")
@_filters
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1))
@common_options
@json_option
@pass_target
def list_(target: Target, /, limit: int, **filters: str | None) -> None:
    """List dead letters, oldest first."""
    from reliq.story import moment

    records = []
    for record in _all(target, filters):
        records.append(record)
        if len(records) == limit:
            break
    if target.json:
        document([_summary(record) for record in records])
        return
    if not records:
        click.echo("No dead letters.")
        return
    now = time.time_ns() // 1_000_000
    rows = [
        (
            r.id,
            r.task or "(cannot be decoded)",
            r.queue,
            moment(r.ended, now) if r.ended else None,
            str(r.attempt),
            r.reason,
        )
        for r in records
    ]
    table(("id", "task", "queue", "failed", "attempts", "reason"), rows)
    if len(records) == limit:
        click.echo(f"The first {limit}; --limit shows more.", err=True)


@command.command()
@click.argument("id")
@common_options
@json_option
@pass_target
def show(target: Target, id: str) -> None:
    """Tell the story of a dead letter, with its last error; arguments are not shown."""
    from reliq.story import tell

    record = _dead(target, id)
    if target.json:
        document(record_data(record))
        return
    for line in tell(record, time.time_ns() // 1_000_000, flags=target.flags):
        click.echo(line)


@command.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "every", is_flag=True, help="All that the filters leave.")
@_filters
@click.option("--to-queue", metavar="QUEUE", help="Into another queue than before.")
@common_options
@json_option
@pass_target
def retry(
    target: Target, /, ids: tuple[str, ...], every: bool, to_queue: str | None, **filters: str | None
) -> None:
    """Give dead letters a new life: all counters at 0, the same id.

    One that needs a key which another message holds now (QueueOnce) is refused.
    """
    done: list[str] = []
    not_dead: list[str] = []
    refused: dict[str, str] = {}
    for id in _chosen(target, ids, every, filters):
        try:
            (done if target.engine.replay(id, queue=to_queue) else not_dead).append(id)
        except GuardRefused as error:
            refused[id] = str(error)
    _tell(target, "retried", done, not_dead, refused)


@command.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "every", is_flag=True, help="All that the filters leave.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_filters
@common_options
@json_option
@pass_target
def rm(target: Target, /, ids: tuple[str, ...], every: bool, yes: bool, **filters: str | None) -> None:
    """Remove dead letters for good."""
    chosen = _chosen(target, ids, every, filters)
    if every and chosen and not yes:
        if not sys.stdin.isatty():
            raise click.UsageError(f"{len(chosen)} dead letters would be removed; add --yes")
        click.confirm(f"Remove {len(chosen)} dead letters for good?", abort=True)
    for id in ids:
        _dead(target, id)
    done = [id for id in chosen if target.engine.remove(id)]
    _tell(target, "removed", done, [id for id in chosen if id not in set(done)])


def _chosen(
    target: Target, /, ids: tuple[str, ...], every: bool, filters: dict[str, str | None]
) -> list[str]:
    if every == bool(ids):
        raise click.UsageError("Give ids, or --all (with --task, --queue, --reason), not both")
    return list(ids) if ids else [record.id for record in _all(target, filters)]


def _tell(
    target: Target, verb: str, done: list[str], not_dead: list[str], refused: dict[str, str] | None = None
) -> None:
    if target.json:
        document({verb: done, "not_dead": not_dead, **({} if refused is None else {"refused": refused})})
    else:
        click.echo(f"{len(done):,} {verb}")
        for id in not_dead:
            click.echo(f"{id} is no dead letter: reliq why{target.flags} {id}", err=True)
        for text in (refused or {}).values():
            click.echo(text, err=True)
    if not_dead or refused:
        raise Silent(NOTHING)


def _all(target: Target, filters: dict[str, str | None]) -> Iterator[Record]:
    after: str | None = None
    while True:
        page = target.engine.list(states=("failed",), limit=_PAGE, after=after, **filters)
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].id


def _dead(target: Target, id: str) -> Record:
    record = target.engine.get(id)
    if record is None or record.state != "failed":
        state = "there is no record of it" if record is None else f"it is {record.state}"
        raise nothing_found(f"{id} is no dead letter: {state}", f"reliq dlq list{target.flags} shows them")
    return record


def _summary(record: Record) -> dict[str, Any]:
    data = record_data(record)
    return {
        name: data[name] for name in ("id", "task", "queue", "reason", "ended", "attempt", "crashes", "life")
    }
