"""`reliq init NAME`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

_APP = '''\
"""Tasks of {name}: `reliq worker -A {name}` runs them, `greet.delay("world")` in your code calls one."""

import time

from reliq import Reliq
from reliq_once import QueueOnce

app = Reliq("{name}")


@app.task(retry_on=(ConnectionError,), max_retries=5)
def greet(name: str) -> str:
    return f"Hello, {{name}}!"


@app.task(base=QueueOnce, once={{"keys": ["customer"]}})
def rebuild(customer: int, seconds: float) -> str:
    time.sleep(seconds)
    return f"customer {{customer}} is rebuilt"
'''


@click.command()
@click.argument("name")
def command(name: str) -> None:
    """Write NAME.py: an app with a task, and say what to try next."""
    if not name.isidentifier() or name != name.lower():
        raise click.BadParameter(
            f"{name!r} is no name for a module; write letters, digits and _, as in shop", param_hint="NAME"
        )
    if name in sys.stdlib_module_names or name in ("reliq", "click", "msgspec", "rich"):
        raise click.BadParameter(
            f"{name}.py would hide the module {name!r}; take another name", param_hint="NAME"
        )
    path = Path(f"{name}.py")
    if Path(name).is_dir():
        raise click.ClickException(
            f"There is a folder {name} here, and {path} would hide it; nothing was written"
        )
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(_APP.format(name=name))
    except FileExistsError:
        raise click.ClickException(f"{path} is there already; nothing was written") from None
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror}") from error
    click.echo(f"Wrote {path}.  Next:")
    following = [
        (f"reliq worker -A {name}", "runs tasks, until Ctrl-C"),
        (f"reliq call -A {name} greet world --wait", "in another terminal"),
        (f"reliq status -A {name}", "workers, queues, counts"),
    ]
    width = max(len(line) for line, _ in following)
    for line, what in following:
        click.echo(f"  {line:<{width}}   {what}")
