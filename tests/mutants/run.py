"""Take each check from the scripts of the Redis engine in turn: some test must fail.  `nox -s lua_mutants`

Every mutant is loaded in a fork of its own, which runs the contracts until the first failure, then the random walk.
What killed other mutants of a file is tried first, so most live for a second.

    python -m tests.mutants.run                     # all; prints the survivors, exit status 1 when there are any
    python -m tests.mutants.run --only claim,lib/settle --sample 20
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from reliq.engines.redis import scripts
from tests.mutants.equal import EQUAL
from tests.mutants.lua import Mutant, mutants

ROOT = Path(__file__).parents[2]
#: In this order; the cheap ones first.
SUITES: tuple[tuple[str, ...], ...] = (
    ("tests/contracts/test_redis.py::TestRedis",),
    ("tests/model/test_walk.py",),
)
QUIETLY = ("-W", "ignore::pytest.PytestAssertRewriteWarning")  # what the fork has imported already
PASSED, FAILED = 0, 113  # exit status of a fork
PATIENCE = 20  # seconds for one test: a mutant may loop for ever


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a mutant; `killer` is the test that failed, None: it survived."""

    mutant: Mutant
    killer: str | None
    seconds: float


def every_mutant() -> list[Mutant]:
    """Of all scripts and their parts."""
    folder = ROOT / "reliq" / "engines" / "redis" / "lua"
    files = sorted(path.relative_to(folder).with_suffix("") for path in folder.rglob("*.lua"))
    found = [mutant for file in files for mutant in mutants(str(file), scripts.source_of(str(file)))]
    return [mutant for mutant in found if str_without_line(mutant) not in EQUAL]


def str_without_line(mutant: Mutant) -> str:
    """How a mutant is named where line numbers would be in the way."""
    return f"{mutant.file}: {mutant.before.strip()} -> {mutant.after.strip()}"


class Hunt:
    """Runs tests against mutants, and learns which tests find much."""

    def __init__(self, *, suites: Sequence[Sequence[str]] = SUITES) -> None:
        self._suites = suites
        self._killers: dict[str, Counter[str]] = {}

    def fates(self, those: Sequence[Mutant]) -> Iterator[Fate]:
        for mutant in those:
            begun = time.monotonic()
            killer = self._kill(mutant)
            if killer is not None:
                self._killers.setdefault(mutant.file, Counter())[killer] += 1
            yield Fate(mutant, killer, time.monotonic() - begun)

    def _kill(self, mutant: Mutant) -> str | None:
        known = [name for name, _ in self._killers.get(mutant.file, Counter()).most_common(8)]
        for suite in ([known] if known else []) + [list(suite) for suite in self._suites]:
            killer = run_with(mutant, suite)
            if killer is not None:
                return killer
        return None


def run_with(mutant: Mutant | None, arguments: Sequence[str]) -> str | None:
    """Run tests with this mutant in the place of its script, in a fork; the test that failed first."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        status = 1
        try:
            status = _in_the_fork(mutant, arguments, writing)
        except BaseException:
            os.write(writing, traceback.format_exc().encode())
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in (PASSED, FAILED):
        raise RuntimeError(f"the tests did not run, status {code}: {arguments}\n{told}")
    return told.split("\n")[0] if code == FAILED else None


def _in_the_fork(mutant: Mutant | None, arguments: Sequence[str], writing: int) -> int:
    if mutant is not None:
        _load(mutant)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    first = _First(writing)
    options = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", *QUIETLY, f"--timeout={PATIENCE}"]
    status = int(pytest.main([*arguments, *options], plugins=[first]))
    return FAILED if first.told else status


def _load(mutant: Mutant) -> None:
    whole = scripts.source_of
    changed = mutant.apply(whole(mutant.file))
    scripts.source_of = lambda name: changed if name == mutant.file else whole(name)
    scripts.script.cache_clear()


class _First:
    """Tells the name of the first test that fails."""

    def __init__(self, writing: int) -> None:
        self._writing = writing
        self.told = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.told:
            self.told = True
            os.write(self._writing, f"{report.nodeid}\n".encode())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--only", default="", help="files, by commas")
    parser.add_argument("--sample", type=int, help="so many, drawn by the seed")
    parser.add_argument("--seed", type=int, default=20260101)
    parser.add_argument("--log", type=Path, help="write a line of JSON for each mutant")
    options = parser.parse_args(arguments)
    os.chdir(ROOT)
    those = every_mutant()
    if options.only:
        those = [mutant for mutant in those if mutant.file in options.only.split(",")]
    if options.sample:
        those = random.Random(options.seed).sample(those, min(options.sample, len(those)))
    for suite in SUITES:
        broken = run_with(None, suite)
        if broken is not None:
            print(f"the tests fail without any mutant: {broken}")
            return 2
    return _hunt(those, options.log)


def _hunt(those: Sequence[Mutant], log: Path | None) -> int:
    survivors = 0
    for number, fate in enumerate(Hunt().fates(those), 1):
        killer = (fate.killer or "").rpartition("::")[2]
        print(f"{number}/{len(those)} {fate.seconds:5.1f} s {fate.mutant}", flush=True)
        print(f"      {'killed by ' + killer if killer else 'SURVIVED'}", flush=True)
        survivors += not killer
        if log is not None:
            with log.open("a") as file:
                told = {
                    "mutant": str_without_line(fate.mutant),
                    "killer": fate.killer,
                    "seconds": fate.seconds,
                }
                file.write(json.dumps(told) + "\n")
    print(f"{len(those)} mutants, {survivors} survived")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
