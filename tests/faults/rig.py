"""What a fault test works with: a broker, a journal, producers that note what they do, real workers."""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reliq import Reliq
from reliq.errors import PublishRefused, PublishUnknown
from reliq.plugins import open_engine
from reliq.policy.ids import new_id
from reliq.testing.faults import Fact, Fleet, Journal, Proxy, Report, check
from reliq.testing.faults.journal import Reader
from tests.faults import fault_app
from tests.faults.grounds import Ground, RedisGround

ROOT = Path(__file__).parents[2]


class Rig:
    """One run of one fault."""

    def __init__(self, folder: Path, ground: Ground, *, seed: int, url: str | None = None) -> None:
        """`url`: by which workers and publishers reach the broker, where that is not the ground's own."""
        self.folder = folder
        self.ground = ground
        self.seed = seed
        self.url = url or ground.url
        self.journal = Journal(folder / "journal")
        self._reader = Reader(self.journal.path)
        self._facts: list[Fact] = []
        self.app: Reliq = fault_app.app
        os.environ[fault_app.JOURNAL] = str(self.journal.path)
        fault_app.journal.cache_clear()
        self.engine = open_engine(ground.url, app="faults")  # to look, past any proxy
        self._publisher = open_engine(self.url, app="faults") if url else self.engine
        self._restore = self.app.use_engine(self._publisher, self.app.clock)

    def close(self) -> None:
        self._restore()
        self._publisher.close()
        self.engine.close()

    # --- producers ---

    def publish(self, task: Any, calls: Iterable[Sequence[Any]], **options: Any) -> list[str]:
        """Publish call by call, noting before and after; the ids."""
        return [self.publish_one(task, call, **options) for call in calls]

    def publish_one(self, task: Any, call: Sequence[Any], **options: Any) -> str:
        return publish_noted(self.journal, task, call, **options)

    # --- workers ---

    def environment(self, *, lease: float = 1.0) -> dict[str, str]:
        """What a process needs to work here."""
        return {
            "RELIQ_BROKER": self.url,
            "RELIQ_LEASE": str(lease),
            "RELIQ_RENEW_EVERY": str(lease / 3),
            "XDG_RUNTIME_DIR": str(self.folder),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")]),
            fault_app.JOURNAL: str(self.journal.path),
        }

    @contextmanager
    def fleet(
        self,
        *arguments: str,
        size: int,
        lease: float = 1.0,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Iterator[Fleet]:
        environment = {**self.environment(lease=lease), **(environment or {})}
        arguments = ("-A", "tests.faults.fault_app:app", *(arguments or ("-c", "1")))
        with Fleet(arguments, size=size, folder=folder or self.folder, environment=environment) as fleet:
            yield fleet

    def await_busy(self, fleet: Fleet, timeout: float) -> None:
        """Until every worker has started something that was not started when this was called."""
        seen = len(self.facts("started"))

        def busy() -> bool:
            pids = {fact.pid for fact in self.facts("started")[seen:]}
            return all(pids & {process.pid for process in worker.tree()} for worker in fleet.workers)

        self.await_true(busy, timeout, lambda: f"a worker starts nothing:\n{fleet.log()[-3000:]}")

    def leased_to(self, pids: Sequence[int]) -> int:
        """How much the owners of these processes hold; an owner's name has its process id."""
        return sum(o.held for o in self.engine.owners() if int(o.owner.split(":")[1]) in pids)

    # --- the end ---

    def await_drained(self, timeout: float) -> None:
        """Until nothing is ready, due or leased; `TimeoutError` says what is."""
        self.await_true(lambda: self.left() == 0, timeout, lambda: f"{self.left()} messages are left")

    def left(self) -> int:
        return sum(d.ready + d.due + d.leased for d in map(self.engine.depth, self.engine.queues()))

    def await_count(self, kind: str, number: int, timeout: float) -> None:
        """Until so many facts of a kind are in the journal."""
        self.await_true(
            lambda: len(self.facts(kind)) >= number, timeout, lambda: f"fewer than {number} {kind}"
        )

    def await_true(
        self, condition: Callable[[], object], timeout: float, what: Callable[[], str] = lambda: "not in time"
    ) -> None:
        until = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > until:
                raise TimeoutError(what())
            time.sleep(0.02)

    def facts(self, *kinds: str) -> list[Fact]:
        self._facts += self._reader.new()
        self._facts.sort(key=lambda fact: fact.at)
        return [fact for fact in self._facts if not kinds or fact.kind in kinds]

    def check(self, **limits: Any) -> Report:
        """The report, printed with the seed and asserted."""
        report = check(self.facts(), self.engine, **limits)
        print(f"seed {self.seed}\n{report}\nslowest reclaim {report.slowest_reclaim:.2f} s")
        assert report.ok, str(report)
        return report

    def check_but_for(self, moments: Sequence[float], lag: float, **limits: Any) -> Report:
        """As `check`, but the broker may have forgotten what happened in the `lag` seconds before these moments.

        What was forgotten ran or was settled without a trace of it, so of these messages any rule may be broken; of
        all others none.
        """
        report = check(self.facts(), self.engine, **limits)
        recent = {
            fact.id
            for fact in self.facts("confirmed", "started", "settled")
            if any(0 <= moment - fact.at <= lag for moment in moments)
        }
        classes = str(report).partition("\nBROKEN")[0]
        print(f"seed {self.seed}\n{classes}\n{len(recent):,} messages in the last {lag:g} s before, together")
        assert set(report.lost) <= recent, "older ones are lost as well"
        assert set(report.unexpected) <= recent
        others = [(rule, what) for rule, what in report.broken if not any(id in what for id in recent)]
        assert others == []
        assert self.engine.audit().balanced
        return report


class Proxied(Rig):
    """A rig whose workers and publishers reach Redis through a proxy."""

    def __init__(self, folder: Path, ground: RedisGround, *, seed: int) -> None:
        self.dice = random.Random(seed)
        self.proxy = Proxy(ground.server.address, seed=seed)
        self.proxy.__enter__()
        super().__init__(folder, ground, seed=seed, url=ground.server.url_for(address=self.proxy.address))

    def close(self) -> None:
        super().close()
        self.proxy.__exit__()


class Producing:
    """A thread that publishes call after call while the body runs, whatever the broker is like meanwhile.

    `slowest` is how long the longest call took, whichever way it ended; `refusals` what the refused ones were told.
    """

    def __init__(self, rig: Rig, task: Any, *call: Any, every: float = 0.01, most: int | None = None) -> None:
        self._rig = rig
        self._task = task
        self._call = call
        self._every = every
        self._most = most
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="producing", daemon=True)
        self.slowest = 0.0
        self.refusals: list[str] = []
        self.error: BaseException | None = None

    def __enter__(self) -> Producing:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=60)
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            for _ in itertools.count() if self._most is None else range(self._most):
                if self._stop.wait(self._every):
                    return
                self._publish()
        except BaseException as error:
            self.error = error

    def _publish(self) -> None:
        id = new_id()
        self._rig.journal.note("attempted", id)
        while not self._stop.is_set():
            begun = time.monotonic()
            try:
                self._task.using(task_id=id).delay(*self._call)
                self._rig.journal.note("confirmed", id)
                return
            except PublishUnknown:
                continue  # the same id again: it is accepted once
            except PublishRefused as error:
                self.refusals.append(str(error))
                self._stop.wait(0.05)
            finally:
                self.slowest = max(self.slowest, time.monotonic() - begun)
        self._rig.journal.note("unknown", id)


def publish_noted(journal: Journal, task: Any, call: Sequence[Any], **options: Any) -> str:
    """Publish one call, noted before and after; its id.  A lost reply is answered by the same id again."""
    id = new_id()
    journal.note("attempted", id)
    for _ in range(20):
        try:
            task.using(task_id=id, **options).delay(*call)
        except PublishUnknown:
            continue
        except PublishRefused as error:
            journal.note("refused", id, why=type(error.__cause__ or error).__name__)
            raise
        journal.note("confirmed", id)
        return id
    journal.note("unknown", id)
    return id
