"""`python -m benchmarks sqlite | race | faults_peers | once`: measure, print the tables, and how the goals were met."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from reliq.testing.servers import NoServer


@dataclass(frozen=True, slots=True)
class Command:
    """What can be run: its settings become flags, its outcome tables."""

    settings: type[Any]
    run: Callable[[Any, Callable[[str], None]], Any]
    as_text: Callable[[Any, Any], Iterator[str]]
    as_data: Callable[[Any, Any], dict[str, Any]]
    help: Mapping[str, str] = field(default_factory=dict)


def _sqlite() -> Command:
    from benchmarks import report, sqlite

    return Command(sqlite.Settings, sqlite.run, report.as_text, report.as_data)


def _race() -> Command:
    from benchmarks.race import report, run, settings

    return Command(settings.Settings, run.run, report.as_text, report.as_data, settings.HELP)


def _faults_peers() -> Command:
    from benchmarks import faults_peers as found

    return Command(found.Settings, found.run, found.as_text, found.as_data, found.HELP)


def _once() -> Command:
    from benchmarks.once import report, run, settings

    return Command(settings.Settings, run.run, report.as_text, report.as_data, settings.HELP)


COMMANDS = {"sqlite": _sqlite, "race": _race, "faults_peers": _faults_peers, "once": _once}


def main(arguments: list[str] | None = None) -> int:
    command, settings, path = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        found = command.run(settings, lambda text: print(text, file=sys.stderr, flush=True))
    except (ValueError, NoServer) as error:
        print(error, file=sys.stderr)
        return 2
    for line in command.as_text(found, settings):
        print(line)
    if path is not None:
        path.write_text(json.dumps(command.as_data(found, settings), indent=2) + "\n")
    return 1 if getattr(found, "failures", None) else 0


def parse(arguments: list[str]) -> tuple[Command, Any, Path | None]:
    """What to run, its settings, and where its figures go."""
    first = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    first.add_argument("what", choices=COMMANDS)
    command = COMMANDS[first.parse_args(arguments[:1]).what]()
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {arguments[0]}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there as well")
    for setting in fields(command.settings):
        default = setting.default
        parser.add_argument(
            f"--{setting.name.replace('_', '-')}",
            type=type(default),
            help=command.help.get(setting.name, f"default: {default}").replace("%", "%%"),
        )
    given = {
        name: value for name, value in vars(parser.parse_args(arguments[1:])).items() if value is not None
    }
    path: Path | None = given.pop("json", None)
    return command, command.settings(**given), path


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
