"""Each mutant is loaded in a fork of one collected pytest run, where tests run until the first failure.

Only tests that reach what was changed are run: first those that killed a mutant of the same place, then of the same
file, then the quick ones.  All share one server.
"""

from __future__ import annotations

import json
import os
import pickle
import select
import shutil
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from reliq.engines.redis import scripts
from reliq.testing.servers import RedisServer, Said
from tests.mutants.lua import Mutant
from tests.mutants.reach import Kept, Reach, record

ROOT = Path(__file__).parents[2]
LUA = ROOT / "reliq" / "engines" / "redis" / "lua"
SUITES = (
    "tests/contracts/test_redis.py::TestRedis",
    "tests/contracts/test_redis.py::TestRedisByTheServersClock",
    *(
        f"tests/engines/redis/test_{name}.py"
        for name in ("batches", "deleted", "disturbed", "full", "hand_over", "idling", "keys")
    ),
    *(f"tests/engines/redis/test_{name}.py" for name in ("large", "later", "races", "repeats", "sweeping")),
    *(f"tests/engines/redis/test_{name}.py" for name in ("swift_and_long", "waiting", "waking", "wire")),
)
PATIENCE = 30  # seconds for one test: a mutant may loop for ever
LONGEST = 600  # seconds for all tests with one mutant
PORTION = 50  # tests that are recorded before the next are begun
OPTIONS = ["-q", "-n", "0", "-p", "no:cacheprovider", f"--timeout={PATIENCE}"]
QUIETLY = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # what is imported already


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a mutant; `killer` is the test that failed, None: it survived."""

    mutant: Mutant
    killer: str | None
    tried: int
    seconds: float


def hunt(
    those: Sequence[Mutant],
    told: Callable[[Fate], None],
    *,
    tests: str = "",
    most: int | None = None,
    reach: Path | None = None,
) -> None:
    """Tell the fate of each of these.

    tests  chooses some, as pytest's -k does
    most   so many are run for a mutant at most
    reach  keeps what the tests reach, for the next time
    """
    os.environ["RELIQ_TEST_REQUIRE"] = "all"  # what is skipped finds nothing
    folder = tempfile.mkdtemp(prefix="m")  # what killed forks leave behind
    before, tempfile.tempdir = tempfile.tempdir, folder
    here = Path.cwd()
    os.chdir(ROOT)
    try:
        with RedisServer() as server:
            hunter = _Hunter(those, server, told, most, Kept(reach, LUA))
            status = pytest.main([*SUITES, "-k", tests, *OPTIONS, *QUIETLY], plugins=[hunter])
    finally:
        os.chdir(here)
        tempfile.tempdir = before
        shutil.rmtree(folder, ignore_errors=True)
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) or hunter.error:
        raise RuntimeError(f"the hunt ended early: {status!r} {hunter.error}")


class _Shared:
    """The server of the hunt is that of all tests; it goes on when a fork ends."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    @pytest.fixture
    def reliq_redis(self) -> RedisServer:
        return self._server


class _Hunter:
    """Takes the place of pytest's own loop over the tests."""

    def __init__(
        self,
        those: Sequence[Mutant],
        server: RedisServer,
        told: Callable[[Fate], None],
        most: int | None,
        kept: Kept,
    ) -> None:
        self._those = those
        self._server = server
        self._told = told
        self._most = most
        self._kept = kept
        self._killers: dict[str, Counter[str]] = {}  # by file, and by place
        self.error = ""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> None:
        # Now, after the plug-in whose fixture it replaces.
        session.config.pluginmanager.register(_Shared(self._server))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        try:
            assert session.items, "no tests were collected"
            reach, unknown = self._kept.split(session.items)
            for first in range(0, len(unknown), PORTION):
                some = unknown[first : first + PORTION]
                reach |= _in_a_fork(lambda some=some: _record(some, self._server))
                self._kept.write(reach)
            items = {item.nodeid: item for item in session.items}
            for mutant in self._those:
                begun = time.monotonic()
                tests = self._order(mutant, reach.tests_of(mutant))
                killer, tried = self._meet(mutant, [items[test] for test in tests])
                if killer is not None:
                    for key in (mutant.file, mutant.place):
                        self._killers.setdefault(key, Counter())[killer] += 1
                self._told(Fate(mutant, killer, tried, time.monotonic() - begun))
        except (AssertionError, RuntimeError) as error:
            self.error = str(error)
        return True

    def _order(self, mutant: Mutant, tests: list[str]) -> list[str]:
        near, far = (self._killers.get(key, Counter()) for key in (mutant.place, mutant.file))
        return sorted(tests, key=lambda test: (-near[test], -far[test]))[: self._most]

    def _meet(self, mutant: Mutant, items: list[pytest.Item]) -> tuple[str | None, int]:
        """The test that failed first, and how many were run."""
        if not items:
            return None, 0
        try:
            answer: tuple[str | None, int] = _in_a_fork(lambda: _with(mutant, items))
        except _Stuck:
            answer = "a call that never ends", len(items)
        _free(self._server)
        return answer


class _Stuck(Exception):
    """A fork did not answer."""


def _in_a_fork(work: Callable[[], Any]) -> Any:
    """What `work` gives, from a process that is like this one; `RuntimeError` where it raises."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            null = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(null, stream)
            try:
                answer = None, work()
            except BaseException:
                answer = traceback.format_exc(), None
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(answer, pipe)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        if not select.select([pipe], [], [], LONGEST)[0]:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise _Stuck
        said = pipe.read()
    os.waitpid(pid, 0)
    if not said:
        raise RuntimeError("a fork ended without an answer")
    error, answer = pickle.loads(said)  # our own fork wrote it
    if error is not None:
        raise RuntimeError(error)
    return answer


def _record(items: Sequence[pytest.Item], server: RedisServer) -> Reach:
    run = _runner(items[0].session)
    return record(items, server, lambda item: run(item) or "")


def _with(mutant: Mutant, items: list[pytest.Item]) -> tuple[str | None, int]:
    whole = scripts.source_of
    changed = mutant.apply(whole(mutant.file))
    scripts.source_of = lambda name: changed if name == mutant.file else whole(name)
    scripts.script.cache_clear()
    run = _runner(items[0].session)
    for number, item in enumerate(items, 1):
        if run(item) is not None:
            return item.nodeid, number
    return None, len(items)


def _runner(session: pytest.Session) -> Callable[[pytest.Item], str | None]:
    """Run a test: how it failed, None for not at all."""
    failures, plugins = _Failures(), session.config.pluginmanager
    plugins.register(failures)
    plugins.unregister(name="terminalreporter")
    for item in session.items:
        walk = getattr(item, "cls", None)
        if hasattr(walk, "settings"):  # one failure is enough, it need not be the smallest
            walk.settings = hypothesis.settings(walk.settings, phases=[hypothesis.Phase.generate])

    def run(item: pytest.Item) -> str | None:
        failures.how = None
        try:
            session.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        except Exception as error:  # it failed so deep in other calls that this cannot be told
            return failures.how or repr(error)
        return failures.how

    return run


class _Failures:
    """How the last test failed."""

    how: str | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and self.how is None:
            self.how = report.longreprtext[-3000:]


def _free(server: RedisServer) -> None:
    """A script that never ends is killed, with the server where it has written."""
    with suppress(Said, OSError):
        server.do("PING")
        return
    with suppress(Said, OSError):
        server.do("SCRIPT", "KILL")
        server.do("PING")
        return
    server.kill()
    server.start()


def fates(log: Path) -> Iterator[dict[str, Any]]:
    """What the runs before have written to `log`."""
    if log.exists():
        for line in log.read_text("utf-8").splitlines():
            yield json.loads(line)
