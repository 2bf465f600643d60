"""`reliq idem`: look at the record of a key, and remove it."""

from __future__ import annotations

import re
import shlex
from typing import Any

import click

from reliq import Tally, Task
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
from reliq.ports import Value
from reliq_idempotency.entry import Entry
from reliq_idempotency.middleware import COUNTS, Idempotency
from reliq_idempotency.plan import PREFIX

_KEY = re.compile(rf"(?:{PREFIX})?([0-9a-f]{{40}})\Z")
_LIVE = ("ready", "due", "leased")


@click.group(no_args_is_help=True)
@common_options
def command() -> None:
    """Keys of idempotency: show the record of one, or remove it; counters."""


def _which(function: Any) -> Any:
    """The arguments that name a key."""
    for decorate in (
        click.option(
            "--parent", metavar="ID", help="The message that sends it, where the scope is the parent."
        ),
        click.option("--kwargs", metavar="JSON", help="Keyword arguments of the call."),
        click.option("--key", metavar="TEXT", help="The idempotency_key that the call was given."),
        click.argument("args", nargs=-1, metavar="[ARG]..."),
        click.argument("what", metavar="KEY|TASK"),
    ):
        function = decorate(function)
    return function


@command.command()
@_which
@common_options
@json_option
@pass_target
def show(target: Target, /, what: str, **call: Any) -> None:
    """Show the record of a KEY, or of a call of TASK: each ARG as for `reliq call`.

    The result itself is not shown; `reliq result ID` does.
    """
    key = _key(target, what, **call)
    value, entry = _found(target, key)
    data = _data(target, key, value, entry)
    if target.json:
        document(data)
        return
    table(("what", "is"), [(name, shown) for name, shown in data.items() if shown is not None])
    click.echo(f"next:  reliq why{target.flags} {shlex.quote(entry.id)}", err=True)


@command.command()
@_which
@click.option("--force", is_flag=True, help="Also while its message waits or runs.")
@common_options
@json_option
@pass_target
def rm(target: Target, /, what: str, force: bool, **call: Any) -> None:
    """Remove the record of a KEY, or of a call of TASK, so that the next send of it runs.

    While its message waits or runs this takes --force: a second one could then run beside it.
    """
    key = _key(target, what, **call)
    value, entry = _found(target, key)
    state = _message_state(target, entry)
    if state in _LIVE and not force:
        raise click.ClickException(
            f"Message {entry.id} is {state}, so the next send with this key could run beside it; "
            f"stop it with `reliq cancel{target.flags} {entry.id}`, or add --force"
        )
    removed = target.engine.store_drop(key, holder=value.holder)
    if target.json:
        document({"key": key, "removed": removed, "message": entry.id})
    else:
        click.echo(f"{key} {'removed' if removed else 'was gone already'}")


@command.command()
@common_options
@json_option
@pass_target
def counters(target: Target) -> None:
    """Show what all processes of the app counted, by day.

    joins: second sends that were given the handle of the first; replays: sends and runs that were given a stored
    result; conflicts: sends that were refused, and runs that found another message unfinished; mismatches: keys that
    were used with other arguments; stale_completions: runs that ended after they had lost their message.
    """
    show_counters(target, Tally("idem", COUNTS))


def _key(
    target: Target,
    what: str,
    /,
    *,
    args: tuple[str, ...],
    kwargs: str | None,
    key: str | None,
    parent: str | None,
) -> str:
    """The key in the store."""
    literal = _KEY.match(what)
    if literal is not None:
        return PREFIX + literal[1]
    task = find_task(target.app, what)
    middleware = _middleware_of(task)
    if key is None:
        found = middleware.key_of(task, *call_arguments(task, args, kwargs), parent=parent)
    else:
        found = middleware.key_of(
            task, *_any_arguments(task, args, kwargs), parent=parent, idempotency_key=key
        )
    if found is None:
        raise click.UsageError(
            f"Calls of {task.name} have a key only where they are given one; name it with --key, as it was given to "
            "using(idempotency_key=...)"
        )
    return found


def _any_arguments(
    task: Task[..., Any], args: tuple[str, ...], kwargs: str | None
) -> tuple[tuple[Any, ...], dict[str, Any] | None]:
    """Arguments do not count where the key is given, so they may be left out."""
    if not args and kwargs is None:
        return (), None
    return call_arguments(task, args, kwargs)


def _middleware_of(task: Task[..., Any]) -> Idempotency:
    for member in task.chain.middleware:
        if isinstance(member, Idempotency):
            return member
    raise click.UsageError(
        f"Task {task.name} is not idempotent: `reliq tasks {task.name}` shows its middleware; "
        "Reliq(middleware=[Idempotency(...)]) adds it"
    )


def _found(target: Target, key: str) -> tuple[Value, Entry]:
    value = target.engine.store_get(key)
    if value is None:
        raise nothing_found(
            f"there is no record under {key}",
            "no such call was sent, or its life (ttl) is over, or its message failed, was dropped or cancelled",
        )
    return value, Entry.of(value, key=key)


def _message_state(target: Target, entry: Entry) -> str | None:
    record = target.engine.get(entry.id)
    return None if record is None else record.state


def _data(target: Target, key: str, value: Value, entry: Entry) -> dict[str, Any]:
    state = _message_state(target, entry)
    result = None
    if entry.state == "done":
        result = "in the message's record" if entry.elsewhere else f"{len(entry.result or b'null'):,} bytes"
    return {
        "key": key,
        "task": entry.task,
        "state": entry.state,
        "message": entry.id,
        "message_state": state or "no record",
        "fingerprint": entry.fingerprint,
        "ended": moment_utc(entry.at or None),
        "until": moment_utc(value.expires),
        "fence": str(entry.fence) if entry.fence else None,
        "result": result,
        "reason": entry.reason,
    }
