"""Take each check from the scripts of the Redis engine in turn: some test must fail.  `nox -s lua_mutants`

The tests are collected once.  Each mutant is loaded in a fork of its own, which runs the contracts and the random walk
until the first failure; what has killed other mutants of the same file is tried first, so most live for a second.

    python -m tests.mutants.run                     # all; prints the survivors, exit status 1 when there are any
    python -m tests.mutants.run --only claim,lib/settle --sample 20
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

from reliq.engines.redis import scripts
from tests.mutants.equal import EQUAL
from tests.mutants.lua import Mutant, mutants

ROOT = Path(__file__).parents[2]
#: In this order; the cheap ones first.
SUITES = (
    "tests/contracts/test_redis.py::TestRedis",
    "tests/contracts/test_redis.py::TestRedisByTheServersClock",
)
PATIENCE = 60  # seconds for one test: a mutant may loop for ever
OPTIONS = ["-q", "-n", "0", "-p", "no:cacheprovider", f"--timeout={PATIENCE}"]
QUIETLY = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # what is imported already
PASSED, FAILED = 0, 113  # exit status of a fork


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a mutant; `killer` is the test that failed, None: it survived."""

    mutant: Mutant
    killer: str | None
    seconds: float


def every_mutant() -> list[Mutant]:
    """Of all scripts and their parts, but for those that are equal to what they were made of."""
    folder = ROOT / "reliq" / "engines" / "redis" / "lua"
    files = sorted(path.relative_to(folder).with_suffix("") for path in folder.rglob("*.lua"))
    found = [mutant for file in files for mutant in mutants(str(file), scripts.source_of(str(file)))]
    return [mutant for mutant in found if name_of(mutant) not in EQUAL]


def name_of(mutant: Mutant) -> str:
    """How a mutant is named where line numbers would be in the way."""
    before, after = (" ".join(text.split()) for text in (mutant.before, mutant.after))
    return f"{mutant.file}: {before} -> {after}"


def hunt(those: Sequence[Mutant], *, tests: str = "", log: Path | None = None) -> list[Fate]:
    """The fate of each of these; `tests` chooses some, as pytest's -k does."""
    os.environ["RELIQ_TEST_REQUIRE"] = "all"  # what is skipped finds nothing
    hunter = _Hunter(those, log)
    folder = tempfile.mkdtemp(prefix="m")  # what killed forks leave behind
    before, tempfile.tempdir = tempfile.tempdir, folder
    here = Path.cwd()
    os.chdir(ROOT)
    try:
        status = pytest.main([*SUITES, "-k", tests, *OPTIONS, *QUIETLY], plugins=[hunter])
    finally:
        os.chdir(here)
        tempfile.tempdir = before
        shutil.rmtree(folder, ignore_errors=True)
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) or hunter.error:
        raise RuntimeError(f"the hunt ended early: {status!r} {hunter.error}")
    return hunter.fates


class _Hunter:
    """Takes the place of pytest's own loop over the tests."""

    def __init__(self, those: Sequence[Mutant], log: Path | None) -> None:
        self._those = those
        self._log = log
        self._killers: dict[str, Counter[str]] = {}
        self.fates: list[Fate] = []
        self.error = ""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        try:
            assert session.items, "no tests were collected"
            run_with(None, session, {})
            for mutant in self._those:
                self._meet(mutant, session)
        except (AssertionError, RuntimeError) as error:
            self.error = str(error)
        return True

    def _meet(self, mutant: Mutant, session: pytest.Session) -> None:
        begun = time.monotonic()
        killer = run_with(mutant, session, self._killers.get(mutant.file, {}))
        fate = Fate(mutant, killer, time.monotonic() - begun)
        self.fates.append(fate)
        if killer is not None:
            self._killers.setdefault(mutant.file, Counter())[killer] += 1
        print(f"{len(self.fates)}/{len(self._those)} {fate.seconds:5.1f} s {mutant}", flush=True)
        print(f"      {'killed by ' + killer.rpartition('::')[2] if killer else 'SURVIVED'}", flush=True)
        if self._log is not None:
            with self._log.open("a") as file:
                told = {"mutant": name_of(mutant), "killer": killer, "seconds": fate.seconds}
                file.write(json.dumps(told) + "\n")


def run_with(mutant: Mutant | None, session: pytest.Session, known: dict[str, int]) -> str | None:
    """Run the tests with this mutant in the place of its script, in a fork; the test that failed first."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = _in_the_fork(mutant, session, known, writing)
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
        raise RuntimeError(f"the tests did not run, status {code}: {told}")
    if mutant is None and code == FAILED:
        raise RuntimeError(f"the tests fail without any mutant: {told}")
    return told.split("\n")[0] if code == FAILED else None


def _in_the_fork(mutant: Mutant | None, session: pytest.Session, known: dict[str, int], writing: int) -> int:
    if mutant is not None:
        _load(mutant)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    first, plugins = _First(), session.config.pluginmanager
    plugins.register(first)
    plugins.unregister(name="terminalreporter")
    for item in session.items:
        walk = getattr(item, "cls", None)
        if hasattr(walk, "settings"):  # one failure is enough, it need not be the smallest
            walk.settings = hypothesis.settings(walk.settings, phases=[hypothesis.Phase.generate])
    items = sorted(session.items, key=lambda item: -known.get(item.nodeid, 0))
    for item, following in zip(items, [*items[1:], None], strict=True):
        session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if first.failed is not None:
            os.write(writing, f"{first.failed}\n{first.how[-3000:]}".encode())
            return FAILED
    return PASSED


def _load(mutant: Mutant) -> None:
    whole = scripts.source_of
    changed = mutant.apply(whole(mutant.file))
    scripts.source_of = lambda name: changed if name == mutant.file else whole(name)
    scripts.script.cache_clear()


class _First:
    """The first test that fails."""

    failed: str | None = None
    how = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and self.failed is None:
            self.failed, self.how = report.nodeid, report.longreprtext


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", default="", help="files, by commas")
    parser.add_argument("--containing", default="", help="only lines that have this text")
    parser.add_argument("--sample", type=int, help="so many, drawn by the seed")
    parser.add_argument("--seed", type=int, default=20260101)
    parser.add_argument("--tests", default="", help="only tests that -k of pytest would choose")
    parser.add_argument(
        "--log", type=Path, help="write a line of JSON for each mutant; those killed there are done"
    )
    options = parser.parse_args(arguments)
    those = every_mutant()
    those = [mutant for mutant in those if options.containing in mutant.before]
    if options.log is not None and options.log.exists():
        told = [json.loads(line) for line in options.log.read_text().splitlines()]
        killed = {one["mutant"] for one in told if one["killer"]}
        those = [mutant for mutant in those if name_of(mutant) not in killed]
    if options.only:
        those = [mutant for mutant in those if mutant.file in options.only.split(",")]
    if options.sample:
        those = random.Random(options.seed).sample(those, min(options.sample, len(those)))
    fates = hunt(those, tests=options.tests, log=options.log)
    survivors = [fate for fate in fates if fate.killer is None]
    print(
        f"\n{len(fates)} mutants, {len(survivors)} survived", *(fate.mutant for fate in survivors), sep="\n  "
    )
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
