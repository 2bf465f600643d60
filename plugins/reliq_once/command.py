"""`reliq once`: who holds a key, which locks there are, and letting one go."""

from __future__ import annotations

import time
from typing import Any

import click

from reliq import Tally
from reliq.cli import (
    Target,
    call_arguments,
    common_options,
    document,
    find_task,
    json_option,
    moment_utc,
    nothing_found,
    pass_target,
    show_counters,
    table,
)
from reliq_once import conf
from reliq_once.digests import digest
from reliq_once.locks import Lock, locks, look, release
from reliq_once.middleware import COUNTS, options_of
from reliq_once.options import Once, seconds
from reliq_once.ticket import LAST, LOCK, SLOT


@click.group()
def command() -> None:
    """Locks of QueueOnce: explain, list, show, release, counters."""


@command.command()
@click.argument("task")
@click.argument("args", nargs=-1, metavar="[ARG]...")
@click.option("--args", "listed", metavar="JSON", help="Positional arguments, as in '[7, \"import\"]'.")
@click.option("--kwargs", metavar="JSON", help="Keyword arguments, as in '{\"customer\": 7}'.")
@common_options
@json_option
@pass_target
def explain(
    target: Target, /, task: str, args: tuple[str, ...], listed: str | None, kwargs: str | None
) -> None:
    """Tell whether a call of TASK would be accepted now, and who holds its key; nothing is published.

    Each ARG is JSON, else text.
    """
    found = find_task(target.app, task)
    positional, keyword = call_arguments(found, _positional(args, listed), kwargs)
    once = options_of(found)
    if once is None:
        raise nothing_found(f"{found.name} takes no lock: it has no once= and no base=QueueOnce")
    key = digest(found, once, positional, keyword, lambda: found.compiled.bind(positional, keyword))
    if key is None:
        _tell(
            target,
            {"task": found.name, "key": None, "answer": "accepted"},
            ["accepted: its key function asks for no lock"],
        )
        return
    value = target.engine.store_get(LOCK + key)
    lock = None if value is None else look(target.engine, LOCK + key, value)
    slots = list(locks(target.engine, f"{SLOT}{key}:"))
    answer, why = _answer(once, lock)
    timeout = conf.default_timeout(target.app) if once.timeout is None else seconds(once.timeout)
    data = {
        "task": found.name,
        "key": LOCK + key,
        "answer": answer,
        "why": why,
        "options": {
            "until": once.frees,
            "on_conflict": once.conflict,
            "timeout": timeout,
            "while_running": once.slots or None,
        },
        "holder": None if lock is None else _data(lock),
        "running": [_data(slot) for slot in slots],
    }
    lines = [f"{answer}: {why}", f"  key      {LOCK + key}"]
    if lock is not None:
        lines += _holder(lock, target.flags)
    if once.slots:
        lines.append(f"  running  {len(slots)} of {once.slots}")
    lines.append(f"  options  until={once.frees}, on_conflict={once.conflict}, timeout={timeout:g} s")
    _tell(target, data, lines)


@command.command("list")
@click.option("--task", help="Only locks of this task.")
@click.option("--orphans", is_flag=True, help="Only locks whose message has ended or has no record.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True)
@common_options
@json_option
@pass_target
def list_(target: Target, /, task: str | None, orphans: bool, limit: int) -> None:
    """List locks and slots with their holders."""
    found: list[Lock] = []
    more = False
    for lock in locks(target.engine):
        if (task is None or lock.task == task) and not (orphans and lock.live):
            more = len(found) == limit
            if more:
                break
            found.append(lock)
    if target.json:
        document([_data(lock) for lock in found])
        return
    if not found:
        click.echo("No lock is held.")
        return
    rows = [
        (lock.key, lock.task, lock.holder, _state(lock), _age(lock.since), _until(lock)) for lock in found
    ]
    table(("key", "task", "message", "state", "since", "until"), rows)
    if more:
        click.echo(f"The first {limit}; --limit shows more.", err=True)


@command.command()
@click.argument("key")
@common_options
@json_option
@pass_target
def show(target: Target, key: str) -> None:
    """Show one lock: KEY as `reliq once list` prints it, or the id of the message that holds it."""
    lock = _find(target, key)
    _tell(
        target,
        _data(lock),
        [f"{lock.key} ({lock.kind} of {lock.task or 'an unknown task'})", *_holder(lock, target.flags)],
    )


@command.command("release")
@click.argument("key")
@click.option("--force", is_flag=True, help="Also while its message lives: a second copy can then be queued.")
@common_options
@json_option
@pass_target
def release_(target: Target, /, key: str, force: bool) -> None:
    """Remove a lock; refused while its message lives, which frees it by itself."""
    lock = _find(target, key)
    gone = release(target.engine, lock.key, force=force)
    if gone is None:
        raise nothing_found(f"{lock.key} has changed hands in this moment; nothing was removed")
    _tell(target, {"released": _data(gone)}, [f"released {gone.key}, which message {gone.holder} held"])


@command.command()
@common_options
@json_option
@pass_target
def counters(target: Target) -> None:
    """Show what all processes of the app counted, by day: conflicts, joins, superseded, busy, lapses.

    conflicts: calls that found their key taken; joins: those of them that were given the other message's handle;
    superseded: messages that gave way to a newer call; busy: starts that found all slots taken; lapses: locks that
    lapsed before their message ran.
    """
    show_counters(target, Tally("once", COUNTS))


# --- what is shown ---


def _find(target: Target, key: str) -> Lock:
    name = key if key.startswith((LOCK, SLOT)) else LOCK + key
    value = target.engine.store_get(name)
    if value is not None:
        return look(target.engine, name, value)
    for lock in locks(target.engine):
        if lock.holder == key:
            return lock
    hint = f"{key} says which call is the newest, and lapses by itself" if key.startswith(LAST) else ""
    raise nothing_found(
        f"There is no lock {key}", *([hint] if hint else []), f"reliq once list{target.flags} shows them"
    )


def _answer(once: Once, lock: Lock | None) -> tuple[str, str]:
    if lock is None:
        return "accepted", "nobody holds the key"
    if not lock.live and not lock.meant:
        return "accepted", f"message {lock.holder}, which holds the key, has ended"
    who = f"message {lock.holder} ({lock.state or 'no record'}) holds the key"
    waits = lock.state in ("ready", "due")
    if once.newest and waits:
        return "accepted", f"{who}, and would be replaced"
    if once.newest and lock.state == "leased" and once.frees == "start":
        return "accepted", f"{who}, and runs on"
    if once.conflict == "join":
        return "joined", who
    return ("rejected" if once.conflict == "drop" else "refused"), who


def _holder(lock: Lock, flags: str) -> list[str]:
    said = [
        f"  holder   {lock.holder or 'nobody'} ({_state(lock)})"
        + (f": reliq why{flags} {lock.holder}" if lock.holder else ""),
        f"  since    {moment_utc(lock.since) or 'unknown'}{_ago(lock.since)}",
        f"  until    {_until(lock)}",
    ]
    if lock.problem:
        said.append(f"  problem  {lock.problem}")
    return said


def _state(lock: Lock) -> str:
    return lock.state or "no record"


def _until(lock: Lock) -> str:
    if lock.state == "leased":
        return "its message ends"
    if lock.until is None:
        return "removed"
    return f"{moment_utc(lock.until)} (in {max(0, lock.until - _now()) / 1000:.0f} s)"


def _age(ms: int | None) -> str | None:
    return None if ms is None else f"{max(0, _now() - ms) / 1000:.0f} s"


def _ago(ms: int | None) -> str:
    return "" if ms is None else f" ({_age(ms)} ago)"


def _now() -> int:
    return time.time_ns() // 1_000_000


def _data(lock: Lock) -> dict[str, Any]:
    return {
        "key": lock.key,
        "kind": lock.kind,
        "task": lock.task,
        "holder": lock.holder,
        "state": lock.state,
        "alive": lock.live,
        "since": moment_utc(lock.since),
        "until": moment_utc(lock.until),
        "meant_to_stay": lock.meant,
        "problem": lock.problem,
    }


def _tell(target: Target, data: dict[str, Any], lines: list[str]) -> None:
    if target.json:
        document(data)
    else:
        for line in lines:
            click.echo(line)


def _positional(args: tuple[str, ...], listed: str | None) -> tuple[str, ...]:
    """Those of the command line, or of one JSON list."""
    if listed is None:
        return args
    import json

    try:
        found = json.loads(listed)
    except ValueError as error:
        raise click.BadParameter(f"{listed!r} is no JSON: {error}", param_hint="--args") from error
    if not isinstance(found, list) or args:
        raise click.BadParameter("give a JSON list, and no other arguments beside it", param_hint="--args")
    return tuple(json.dumps(value) for value in found)
