"""Writes the pages of the reference that are tables of the code: `python docs/generate.py`.

They are checked in, so that they can be read without building anything; `tests/docs/test_generated.py` compares them
with the code.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from reliq.cli.main import COMMANDS, main
from reliq.settings import SETTINGS, Setting

REFERENCE = Path(__file__).parent / "reference"
NOTE = "<!-- Written by docs/generate.py: change the code, then run it. -->\n"
_BY_MACHINE = {"concurrency": "one per core"}
_FORMS = re.compile(r" \(a number, a timedelta, [^)]*\)")  # said once below the table
_EVERYWHERE = {tuple(option.opts) for option in main.params} | {("--json",), ("--help",)}


def pages() -> dict[str, str]:
    """The text of each page, by its name."""
    return {"settings.md": settings(), "commands.md": commands()}


# --- settings ---


def settings() -> str:
    rows = [
        (
            f"`{s.name}`",
            _default(s),
            _FORMS.sub("", s.kind.expected),
            s.doc,
            ", ".join(f"`{a}`" for a in s.aliases),
        )
        for s in SETTINGS
    ]
    return f"""{NOTE}
# Settings

A value comes from, the later over the earlier: its default, a file or object (`app.conf.read`), code
(`Reliq("shop", lease=60)`, `app.conf.update`), the environment (`RELIQ_LEASE=60`), the command line. `reliq config`
prints every value and where it came from. A name that does not exist is an error that proposes the nearest one, and a
change after the first use of the app raises `ConfigFrozen`.

{_table(("setting", "default", "takes", "meaning", "Celery's names for it"), rows)}

A duration is seconds, a `timedelta`, or text such as `90s`, `5m`, `1h`.
"""


def _default(setting: Setting) -> str:
    if setting.name in _BY_MACHINE:
        return _BY_MACHINE[setting.name]
    value = setting.default
    if value is None or value == () or value == {}:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (
        f"{value:,g}"
        if isinstance(value, float)
        else f"`{value}`"
        if isinstance(value, str)
        else f"{value:,}"
    )


# --- commands ---


def commands() -> str:
    ctx = click.Context(main, info_name="reliq", **main.context_settings)
    found = []
    for name in COMMANDS:
        command = main.get_command(ctx, name)
        assert command is not None
        found.append(_command(command, f"reliq {name}"))
    common = _table(("option", "meaning"), _options(main, common=True))
    return f"""{NOTE}
# Commands

These options are taken by all commands that deal with an app or a broker, before or after the command's name:

{common}

Commands that show data also take `--json`: one JSON document on stdout. `RELIQ_APP` stands for `-A`, `RELIQ_BROKER` for
the app's broker; a command that needs only the broker imports no app when it is given `--broker`.

| exit code | meaning |
|---|---|
| 0 | it went well |
| 1 | an error, or the answer is no (`audit`, `health`, a failed task) |
| 2 | wrong usage: options, arguments, settings |
| 3 | the broker cannot be reached or used |
| 4 | the app cannot be imported |
| 5 | nothing found under that id or name |
| 6 | it has not ended in time |

{"".join(found).rstrip()}
"""


def _command(command: click.Command, name: str) -> str:
    # A command keeps the help option of its first context, so this one must be like a real one.
    with click.Context(command, info_name=name, **main.context_settings) as ctx:
        usage = " ".join([name, *command.collect_usage_pieces(ctx)])
        text = inspect.cleandoc(command.help or "")
        parts = [f"## {name}\n\n```text\n{usage}\n```\n\n{text}\n\n"]
        rows = _options(command, common=False)
        if rows:
            parts.append(_table(("option", "meaning"), rows) + "\n\n")
        if isinstance(command, click.Group):
            for sub in command.list_commands(ctx):
                found = command.get_command(ctx, sub)
                assert found is not None
                parts.append(_command(found, f"{name} {sub}"))
    return "".join(parts)


def _options(command: click.Command, *, common: bool) -> list[tuple[str, str]]:
    rows = []
    for option in command.params:
        if not isinstance(option, click.Option) or option.hidden or _is_common(option, command) is not common:
            continue
        names = ", ".join(f"`{name}`" for name in option.opts)
        metavar = "" if option.is_flag else f" {option.metavar or option.type.name.upper()}"
        default = f" Default: {option.default}." if option.show_default else ""
        rows.append((f"{names}{metavar}", f"{option.help or ''}{default}"))
    return rows


def _is_common(option: click.Option, command: click.Command) -> bool:
    return tuple(option.opts) in _EVERYWHERE and command.name != "demo"  # whose --broker is its own


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


if __name__ == "__main__":
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, "utf-8")
