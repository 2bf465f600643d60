"""`reliq tasks [TASK]`."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import click

from reliq.cli.show import document, table
from reliq.cli.target import Target, common_options, json_option, pass_target

if TYPE_CHECKING:
    from reliq.tasks import Task


@click.command()
@click.argument("task", required=False)
@common_options
@json_option
@pass_target
def command(target: Target, task: str | None) -> None:
    """List the tasks of an app; with TASK, its signature, options and effective middleware chain."""
    app = target.app
    if task is not None:
        from reliq.cli.call import find_task

        data = task_data(find_task(app, task))
        if target.json:
            document(data)
        else:
            _explain(data)
        return
    found = [task_data(app.tasks[name]) for name in sorted(app.tasks)]
    if target.json:
        document(found)
    elif found:
        table(
            ("task", "queue", "retries", "limits", "middleware"),
            [
                (
                    f"{d['task']}{d['signature']}",
                    d["queue"],
                    _retries(d),
                    _limits(d),
                    ", ".join(d["middleware"]),
                )
                for d in found
            ],
        )
    else:
        click.echo(f"App {app.name!r} has no tasks; are their modules imported? (setting `imports`)")


def task_data(task: Task[..., Any]) -> dict[str, Any]:
    """What a task is, as plain data; own options by name, what the app gives under the same names."""
    options, conf = task.options, task.app.conf
    return {
        "task": task.name,
        "signature": str(task.compiled.signature),
        "doc": inspect.getdoc(task.func),
        "async": task.is_async,
        "queue": task.queue,
        "middleware": list(task.chain.names),
        "max_retries": task.max_retries,
        "retry_on": [error.__qualname__ for error in task.retry_on],
        "soft_time_limit": options.soft_time_limit or conf.soft_time_limit,
        "time_limit": options.time_limit or conf.time_limit,
        "ignore_result": conf.ignore_result if options.ignore_result is None else options.ignore_result,
        "result_ttl": options.result_ttl or conf.result_ttl,
        "max_crashes": options.max_crashes or conf.max_crashes,
        "middleware_options": {name: repr(value) for name, value in task.middleware_options.items()},
        "defined_in": _place(task.func),
    }


def _explain(data: dict[str, Any]) -> None:
    click.secho(f"{data['task']}{data['signature']}", bold=True)
    for line in (data["doc"] or "").splitlines():
        click.echo(f"  {line}".rstrip())
    rows = [
        ("defined in", data["defined_in"]),
        ("runs", "on the event loop" if data["async"] else "in a slot"),
        ("queue", data["queue"]),
        ("retries", _retries(data)),
        ("limits", _limits(data) or "none"),
        ("result", "ignored" if data["ignore_result"] else f"kept for {data['result_ttl']:g} s"),
        ("crashes", f"quarantined after {data['max_crashes']}"),
        ("middleware", " > ".join([*data["middleware"], "task"]) + "  (outermost first)"),
        *((f"  {name}", value) for name, value in data["middleware_options"].items()),
    ]
    for name, value in rows:
        click.echo(f"  {name:<11} {value}")


def _retries(data: dict[str, Any]) -> str:
    if not data["retry_on"]:
        return "none"
    most = "without limit" if data["max_retries"] is None else f"{data['max_retries']}"
    return f"{most} on {', '.join(data['retry_on'])}"


def _limits(data: dict[str, Any]) -> str:
    soft, hard = data["soft_time_limit"], data["time_limit"]
    if hard is None and soft is not None:
        hard = soft + 5.0
    return ", ".join(
        f"{word} {value:g} s" for word, value in (("soft", soft), ("hard", hard)) if value is not None
    )


def _place(func: Any) -> str | None:
    code = getattr(inspect.unwrap(func), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else None
