"""The command line: a file per command, imported only when it runs.

A plug-in brings a command with an entry point in `reliq.commands`; the names below are for it:

    @click.command()
    @common_options                  # -A, --broker and --traceback, before or after the command
    @json_option
    @pass_target
    def command(target: Target) -> None:
        document(target.engine.capabilities.name)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

_NAMES = {
    "Target": "reliq.cli.target",
    "call_arguments": "reliq.cli.call",
    "common_options": "reliq.cli.target",
    "document": "reliq.cli.show",
    "find_task": "reliq.cli.call",
    "json_option": "reliq.cli.target",
    "moment_utc": "reliq.cli.show",
    "nothing_found": "reliq.cli.failure",
    "pass_target": "reliq.cli.target",
    "show_counters": "reliq.cli.counters",
    "table": "reliq.cli.show",
}

__all__ = [
    "Target",
    "call_arguments",
    "common_options",
    "document",
    "find_task",
    "json_option",
    "moment_utc",
    "nothing_found",
    "pass_target",
    "show_counters",
    "table",
]

if TYPE_CHECKING:
    from reliq.cli.call import call_arguments as call_arguments
    from reliq.cli.call import find_task as find_task
    from reliq.cli.counters import show_counters as show_counters
    from reliq.cli.failure import nothing_found as nothing_found
    from reliq.cli.show import document as document
    from reliq.cli.show import moment_utc as moment_utc
    from reliq.cli.show import table as table
    from reliq.cli.target import Target as Target
    from reliq.cli.target import common_options as common_options
    from reliq.cli.target import json_option as json_option
    from reliq.cli.target import pass_target as pass_target


def __getattr__(name: str) -> Any:
    # Loaded when used: `reliq --help` imports no command.
    module = _NAMES.get(name)
    if module is None:
        raise AttributeError(f"module 'reliq.cli' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(module), name)
