"""Take each check from the scripts of the Redis engine in turn: some test must fail.  `nox -s lua_mutants`

python -m tests.mutants.run                     # all; prints the survivors, exit status 1 when there are any
python -m tests.mutants.run --only claim,lib/settle --sample 20
python -m tests.mutants.run --log hunt.jsonl    # goes on where the last run with this file ended
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from reliq.engines.redis import scripts
from tests.mutants.equal import EQUAL
from tests.mutants.hunt import LUA, Fate, fates, hunt
from tests.mutants.lua import Mutant, mutants


def every_mutant() -> list[Mutant]:
    """Of all scripts and their parts."""
    files = sorted(path.relative_to(LUA).with_suffix("") for path in LUA.rglob("*.lua"))
    return [mutant for file in files for mutant in mutants(str(file), scripts.source_of(str(file)))]


def name_of(mutant: Mutant) -> str:
    """How a mutant is named where line numbers would be in the way."""
    before, after = (" ".join(text.split()) for text in (mutant.before, mutant.after))
    return f"{mutant.file}: {before} -> {after}"


class Tale:
    """What is printed, and written to the log."""

    def __init__(self, count: int, log: Path | None) -> None:
        self.survivors: list[Fate] = []
        self._count = count
        self._done = 0
        self._log = log

    def add(self, fate: Fate) -> None:
        self._done += 1
        if fate.killer is None:
            self.survivors.append(fate)
        end = (
            f"killed by {fate.killer.rpartition('::')[2]}" if fate.killer else f"SURVIVED {fate.tried} tests"
        )
        print(f"{self._done}/{self._count} {fate.seconds:5.1f} s {fate.mutant}\n      {end}", flush=True)
        if self._log is not None:
            told = {"mutant": name_of(fate.mutant), "killer": fate.killer, "seconds": round(fate.seconds, 2)}
            with self._log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(told) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", default="", help="files, by commas")
    parser.add_argument("--containing", default="", help="only lines that have this text")
    parser.add_argument("--sample", type=int, help="so many, drawn by the seed")
    parser.add_argument("--seed", type=int, default=20260101)
    parser.add_argument("--tests", default="", help="only tests that -k of pytest would choose")
    parser.add_argument("--most", type=int, help="run at most so many tests for each, the likely ones")
    parser.add_argument("--reach", type=Path, help="keep there what tests reach: the next run begins sooner")
    parser.add_argument(
        "--log", type=Path, help="write a line of JSON for each mutant; those killed there are done"
    )
    options = parser.parse_args(arguments)
    all = every_mutant()
    some = bool(options.only or options.containing or options.sample)
    strange = [] if some else sorted(EQUAL.keys() - {name_of(mutant) for mutant in all})
    those = [mutant for mutant in all if name_of(mutant) not in EQUAL and options.containing in mutant.before]
    if options.log is not None:
        killed = {told["mutant"] for told in fates(options.log) if told["killer"]}
        those = [mutant for mutant in those if name_of(mutant) not in killed]
    if options.only:
        those = [mutant for mutant in those if mutant.file in options.only.split(",")]
    if options.sample:
        those = random.Random(options.seed).sample(those, min(options.sample, len(those)))
    tale = Tale(len(those), options.log and options.log.absolute())
    if those:
        hunt(those, tale.add, tests=options.tests, most=options.most, reach=options.reach)
    survivors = "".join(f"\n  {fate.mutant}" for fate in tale.survivors)
    print(f"\n{len(those)} mutants, {len(tale.survivors)} survived{survivors}")
    if strange:
        print("listed as equal, but no mutants (any more):", *strange, sep="\n  ")
    return 1 if tale.survivors or strange else 0


if __name__ == "__main__":
    sys.exit(main())
