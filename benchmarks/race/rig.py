"""What a measure stands on: the server, a folder for each measure, workers and producers that end with it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks import tally
from benchmarks.figures import Figures, percentile
from benchmarks.race.environments import python_of
from benchmarks.race.interruption import deferred
from benchmarks.race.programs import Program
from benchmarks.race.server import HOST, Server
from benchmarks.race.settings import Settings
from benchmarks.race.sides import APPS, Side, Start

ROOT = Path(__file__).parents[2]


class Rig:
    """One run of the race."""

    def __init__(self, settings: Settings, server: Server, folder: Path) -> None:
        self.settings = settings
        self.server = server
        self.figures = Figures()
        self._top = folder
        self._number = 0
        self.folder = folder
        self.environment: dict[str, str] = {}

    @contextmanager
    def measuring(self, **environment: str) -> Iterator[None]:
        """An empty server and a folder of its own, which every process of the block is told of."""
        self._number += 1
        self.folder = self._top / str(self._number)
        self.folder.mkdir()
        self.server.clear()
        self.environment = {**self._usual(), **environment}
        try:
            yield
        finally:
            shutil.rmtree(self.folder)

    def _usual(self) -> dict[str, str]:
        found = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")]),
            "BENCH_PORT": str(self.server.port),
            "XDG_RUNTIME_DIR": str(self.folder),
            tally.FOLDER: str(self.folder),
        }
        if self.settings.reliq_on == "sqlite":
            found["BENCH_BROKER"] = f"sqlite:///{self.folder}/reliq.sqlite3"
        return found

    @property
    def reliq_url(self) -> str:
        """Where reliq's broker is in this measure."""
        return self.environment.get("BENCH_BROKER", f"redis://{HOST}:{self.server.port}/0")

    def produce(self, side: Side, *arguments: object, timeout: float = 900.0) -> Any:
        """What the side's own producer measured."""
        with self.program(
            side, ["-m", f"{APPS}.produce", side.app, *map(str, arguments)], name="producer"
        ) as running:
            return running.answer(timeout)

    @contextmanager
    def working(
        self,
        side: Side,
        *,
        processes: int = 1,
        threads: int = 1,
        more: tuple[str, ...] = (),
        start: Start | None = None,
    ) -> Iterator[list[Program]]:
        """Running workers (or what `start` says); if there are several processes, each waits at its first task."""
        environment = {tally.TOGETHER: str(processes)}
        with ExitStack() as stack:
            yield [
                stack.enter_context(
                    self.program(side, [*line, *more], name="worker", environment=environment)
                )
                for line in (start or side.start)(processes, threads)
            ]

    @contextmanager
    def program(
        self, side: Side, arguments: list[str], *, name: str, environment: Mapping[str, str] | None = None
    ) -> Iterator[Program]:
        """One process in the side's environment; stopped at the end of the block."""
        python = python_of(side.name.partition("-")[0], side.requirements)
        url = f"redis://{HOST}:{self.server.port}/0"
        log = self.folder / f"{name}-{len(list(self.folder.glob('*.log')))}.log"
        started: Program | None = None
        try:
            with deferred():
                started = Program(
                    [python, *(argument.replace("{url}", url) for argument in arguments)],
                    log=log,
                    environment={**self.environment, **side.environment, **(environment or {})},
                )
            yield started
        finally:
            if started is not None:
                started.stop()

    def await_runs(self, number: int, workers: list[Program]) -> None:
        """Until so many tasks have ended; `RuntimeError` when a worker has died or nothing goes on."""
        last, until = 0, time.monotonic() + 60
        while (count := sum(share.runs for share in tally.shares(self.folder))) < number:
            if count > last:
                last, until = count, time.monotonic() + 60
            dead = [worker for worker in workers if not worker.running]
            if dead or time.monotonic() > until:
                why = "a worker died" if dead else "nothing went on for a minute"
                raise RuntimeError(
                    f"{count} of {number} tasks ended, then {why}:\n{(dead or workers)[0].tail()}"
                )
            time.sleep(0.02)

    def add(self, what: str, side: Side, unit: str, sample: float) -> None:
        """A sample of a quantity of a side."""
        self.figures.add(f"{what}, {side.name}", unit, sample)

    def add_percentiles(self, what: str, side: Side, seconds: list[float]) -> None:
        """The median and the 99th percentile, in milliseconds."""
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            self.add(f"{what} {name}", side, "ms", percentile(seconds, share) * 1000)
