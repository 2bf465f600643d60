"""Workers as processes of their own, on the memory engine of the test process."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

HERE = Path(__file__).parent


def _load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


remote = _load("remote")
Server: Any = remote.Server

_RUN = """
import sys, msgspec
from reliq.loader import load_app
from reliq.log import setup
from reliq.worker.options import WorkerOptions
options = msgspec.json.decode(sys.argv[1], type=WorkerOptions)
setup(options.log_level, options.log_format)
if sys.argv[2] == "solo":
    from reliq.worker.solo import Solo as Worker
else:
    from reliq.worker.supervisor import Supervisor as Worker
sys.exit(Worker(load_app(options.app), options).run())
"""


class Place:
    """A folder, an engine, a journal, and the workers a test has started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._short = tempfile.mkdtemp(prefix="rq")  # a socket's path has at most 108 bytes
        self.server = Server(os.path.join(self._short, "s"))
        self.engine = self.server.engine
        self.journal = folder / "journal"
        self.workers: list[Worker] = []
        os.environ.update(RELIQ_TEST_SOCKET=self.server.path, RELIQ_TEST_JOURNAL=str(self.journal))
        self.app = _load("work_app").app
        self.app.use_engine(self.engine, self.app.clock)

    def task(self, name: str) -> Any:
        return next(t for n, t in self.app.tasks.items() if n.rpartition(".")[2] == name)

    def worker(self, *, solo: bool = False, env: dict[str, str] | None = None, **options: Any) -> Worker:
        options = {"concurrency": 1, "log_level": "info", "lease": 3.0, "sweep": 0.5, **options}
        worker = Worker(self, options, solo, env or {})
        self.workers.append(worker)
        return worker

    def lines(self, event: str = "") -> list[list[str]]:
        if not self.journal.exists():
            return []
        rows = [line.split() for line in self.journal.read_text().splitlines()]
        return [row for row in rows if not event or row[0] == event]

    def close(self) -> None:
        for worker in self.workers:
            worker.end()
        self.server.close()
        for path in Path(self._short).iterdir():
            path.unlink()
        os.rmdir(self._short)


class Worker:
    """A worker tree, ended by its process ids."""

    def __init__(self, place: Place, options: dict[str, Any], solo: bool, env: dict[str, str]) -> None:
        self.place = place
        number = len(place.workers)
        self.health = place.folder / f"health-{number}.json"
        self.log_path = place.folder / f"worker-{number}.log"
        spec = {"app": "work_app", "health": str(self.health), **options}
        path = os.pathsep.join([str(HERE), str(HERE.parent.parent), str(HERE.parent.parent / "plugins")])
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _RUN, msgspec.json.encode(spec).decode(), "solo" if solo else ""],
                stderr=log,
                stdout=log,
                env={**os.environ, "PYTHONPATH": path, **env},
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    @property
    def pid(self) -> int:
        return self.process.pid

    def children(self) -> list[int]:
        text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in text.split()]

    def signal(self, signum: int) -> None:
        os.kill(self.pid, signum)

    def stop(self, timeout: float = 30) -> int:
        self.signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def end(self) -> None:
        if self.process.poll() is None:
            kids = self.children()
            for pid in [self.pid, *kids]:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            self.process.wait()


def wait_for(condition: Callable[[], Any], timeout: float = 15.0, what: str = "") -> Any:
    """The condition's first true value."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {what or condition}")
        time.sleep(0.01)


@pytest.fixture
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    failed = getattr(request.node, "failed", False)
    for worker in place.workers:
        if failed:
            print(worker.log)
    place.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Iterator[None]:
    outcome: Any = yield
    if outcome.get_result().failed:
        item.failed = True  # type: ignore[attr-defined]
        place = getattr(item, "funcargs", {}).get("place")
        for worker in getattr(place, "workers", ()):
            item.add_report_section(call.when, f"worker {worker.pid}", worker.log[-6000:])


@pytest.fixture
def until() -> Callable[..., Any]:
    return wait_for
