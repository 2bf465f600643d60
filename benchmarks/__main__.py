"""`python -m benchmarks sqlite`: measure, print the tables, and the goals that are met and missed."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import fields, replace
from pathlib import Path

from benchmarks import sqlite
from benchmarks.report import as_data, as_text


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", choices=["sqlite"])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there as well")
    for field in fields(sqlite.Settings):
        kind = type(field.default)
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=kind, help=f"default: {field.default}")
    given = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    del given["what"]
    path: Path | None = given.pop("json", None)
    settings = replace(sqlite.Settings(), **given)
    figures = sqlite.run(settings, lambda text: print(text, file=sys.stderr, flush=True))
    for line in as_text(figures, settings):
        print(line)
    if path is not None:
        path.write_text(json.dumps(as_data(figures, settings), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
