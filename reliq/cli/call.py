"""`reliq call TASK [ARGS]`."""

from __future__ import annotations

import json
import shlex
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from reliq.cli.failure import TIMEOUT, Silent
from reliq.cli.result import show_ended
from reliq.cli.show import document
from reliq.cli.target import Target, common_options, json_option, pass_target
from reliq.errors import ArgumentError

if TYPE_CHECKING:
    from reliq.app import Reliq
    from reliq.tasks import Task


@click.command()
@click.argument("task")
@click.argument("args", nargs=-1, metavar="[ARG]...")
@click.option("--kwargs", metavar="JSON", help="Keyword arguments, as in '{\"customer\": 7}'.")
@click.option("--countdown", type=float, metavar="SECONDS", help="Run it this much later.")
@click.option("--eta", metavar="TIME", help="Run it at this moment: 2026-05-01T12:00:00+02:00.")
@click.option("--expires", type=float, metavar="SECONDS", help="Drop it when it has not begun by then.")
@click.option("--queue", help="Over the task's own queue.")
@click.option("--priority", type=click.IntRange(0, 9), help="9 runs first.")
@click.option("--id", "task_id", help="An id of your own: the same id again is accepted once.")
@click.option("--wait", is_flag=True, help="Wait for the result and print it.")
@click.option(
    "--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="How long to wait; implies --wait."
)
@common_options
@json_option
@pass_target
def command(
    target: Target,
    /,
    task: str,
    args: tuple[str, ...],
    kwargs: str | None,
    eta: str | None,
    wait: bool,
    timeout: float | None,
    **options: Any,
) -> None:
    """Publish a call of TASK.

    Each ARG is JSON; what is no JSON is taken as text.  Where the task has annotations, they rebuild the value.  After
    `--` an argument may begin with a dash.
    """
    app = target.app
    given = {name: value for name, value in options.items() if value is not None}
    if eta is not None:
        given["eta"] = _moment(eta, naive=app.conf.naive)
    registered = find_task(app, task)
    positional, keyword = call_arguments(registered, args, kwargs)
    handle = registered.apply_async(positional, keyword, **given)
    if handle.id is None:
        raise click.ClickException(f"The publish was rejected: {handle.reason}")
    if handle.duplicate:
        click.echo(f"note:  {handle.id} was accepted before: nothing new was published", err=True)
    if not app.broker.capabilities.shared:
        click.echo(f"note:  {app.broker.url} lives in this process, and ends with it", err=True)
    if not wait and timeout is None:
        if target.json:
            document(
                {
                    "id": handle.id,
                    "task": registered.name,
                    "state": handle.state,
                    "duplicate": handle.duplicate,
                }
            )
        else:
            click.echo(handle.id)
            click.echo(f"next:  reliq why{target.flags} {shlex.quote(handle.id)}", err=True)
        return
    from reliq.errors import ResultTimeout

    try:
        record = handle.wait(timeout)
    except ResultTimeout:
        click.echo(f"{handle.id} has not ended after {timeout:g} s; it goes on", err=True)
        raise Silent(TIMEOUT) from None
    show_ended(target, record)


def call_arguments(
    task: Task[..., Any], args: tuple[str, ...], kwargs: str | None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call as the command line gives them: each of `args` JSON or else text, `kwargs` an object."""
    positional, keyword = [_value(arg) for arg in args], _keywords(kwargs)
    positional, keyword = _typed(task, positional, keyword)
    return tuple(positional), keyword


def find_task(app: Reliq, name: str) -> Task[..., Any]:
    """The task of that name, or the only one whose last part it is."""
    if name not in app.tasks and "." not in name:
        same = [full for full in app.tasks if full.rpartition(".")[2] == name]
        if len(same) == 1:
            return app.tasks[same[0]]
    return app.find_task(name)


def _typed(task: Task[..., Any], args: list[Any], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The arguments as the annotations want them, as a worker would rebuild them."""
    from reliq.wire import arity

    arity.check(task.compiled.signature, task.name, len(args), tuple(kwargs))
    try:
        return task.compiled.decode(json.dumps([args, kwargs]).encode())
    except ArgumentError as error:  # it blames the publisher, but that is us
        what = str(error).partition("; was it")[0].replace(" was sent ", " was given ").replace(" here:", ":")
        raise ArgumentError(what) from error


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        if text[:1] in "[{\"'":
            raise click.BadParameter(
                f"{text!r} begins like JSON but is none; quote it for the shell", param_hint="ARG"
            ) from None
        return text


def _keywords(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no JSON: {error}", param_hint="--kwargs") from error
    if not isinstance(found, dict):
        raise click.BadParameter(f"a JSON object is needed, got {text!r}", param_hint="--kwargs")
    return found


def _moment(text: str, *, naive: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(
            f"{text!r} is no moment; write 2026-05-01T12:00:00+02:00", param_hint="--eta"
        ) from error
    if moment.tzinfo is None and naive == "refuse":
        raise click.BadParameter(
            f"{text!r} has no time zone; write {text}+02:00 (Z is UTC), or --countdown SECONDS",
            param_hint="--eta",
        )
    return moment
