"""`reliq`: the list of commands, and what happens when one fails."""

from __future__ import annotations

import difflib
import importlib
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click

from reliq.cli.failure import code_of, report
from reliq.cli.target import Target, common_options

# Name -> what it does.  Kept here so that `reliq --help` imports no command.
COMMANDS = {
    "init": "Write a small app to start from.",
    "demo": "See it work: real files, killed workers, and a proof.",
    "worker": "Run tasks.",
    "call": "Publish a call of a task.",
    "result": "Show, or wait for, the result of a message.",
    "why": "Tell the story of a message.",
    "cancel": "Drop a waiting message, stop a running one.",
    "tasks": "List the tasks of an app, or explain one.",
    "status": "Show workers, queues and counts.",
    "queues": "Show how much waits in each queue.",
    "dlq": "Dead letters: list, show, retry, rm.",
    "audit": "Check the broker's books: accepted = sum of all states.",
    "health": "Tell whether workers are alive, by exit code.",
    "doctor": "Look for what is wrong with this installation.",
    "config": "Show every setting, its value and where it came from.",
    "version": "Show versions.",
}


class LazyGroup(click.Group):
    """Commands by name; a module is imported when its command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *sorted(_installed())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            module: Any = importlib.import_module(f"reliq.cli.{cmd_name}")
            return module.command  # type: ignore[no-any-return]
        point = _installed().get(cmd_name)
        if point is None:
            return None
        from reliq.plugins import load

        return load(point)  # type: ignore[no-any-return]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and self.get_command(ctx, name) is None:
            near = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            hint = f"did you mean `reliq {near[0]}`?" if near else "`reliq --help` lists them"
            raise click.UsageError(f"There is no command {name!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [
            *COMMANDS.items(),
            *((name, f"From {point.value}.") for name, point in sorted(_installed().items())),
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        target = ctx.ensure_object(Target)
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            report(error, target)
            ctx.exit(code_of(error))
        finally:
            target.close()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True)
@common_options
def main() -> None:
    """Run tasks at least once, settle them exactly once, and always be able to say why."""


def _installed() -> dict[str, EntryPoint]:
    """Commands that plug-ins bring."""
    return {point.name: point for point in entry_points(group="reliq.commands")}
