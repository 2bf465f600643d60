"""F6's driver: one small story, told again and again, each time with one fault at one operation.

Each act of the story (publish; register; work; bury) is a fork of its own on an engine, wrapped so that the
N-th operation of one kind is not sent, loses its reply, or takes the process down before or after it; what a
supervisor would do then follows.  The clock is virtual: nothing waits for a lease.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from reliq import Backoff, Reliq, current
from reliq.errors import BrokerUnavailable, PublishRefused, PublishUnknown
from reliq.plugins import open_engine
from reliq.policy.clock import VirtualClock
from reliq.ports import records
from reliq.ports.values import ENDED
from reliq.testing.faults import Faulty, Journal, at, check, read
from reliq.testing.faults.check import all_records
from reliq.testing.faults.faulty import DIED, Plan

FIRED = 3  # exit status of an act that has met its fault and gone on
LEASE = 1000.0
_PATIENCE = 5.0

app = Reliq("operations", middleware=["once"], max_crashes=10)
_journal: Journal


def _note(kind: str) -> None:
    _journal.note(kind, current().id, fence=current().fence, task=current().task.name)


@app.task(name="shaky", retry_on=(OSError,), backoff=Backoff(base=0.1, floor=0.1))
def shaky() -> int:
    """Fails once, then is done, and `then` follows."""
    _note("started")
    if current().retries == 0:
        raise OSError("the first time")
    _note("ended")
    return 1


@app.task(name="then")
def then(value: int) -> None:
    _note("started")
    _note("ended")


@app.task(name="broken")
def broken() -> None:
    """Fails for good, and `sorry` follows."""
    _note("started")
    raise ValueError("always")


@app.task(name="sorry")
def sorry(id: str) -> None:
    _note("started")
    _note("ended")


@app.task(name="locked", once={"keys": []})
def locked() -> None:
    """Holds a lock until it has ended."""
    _note("started")
    _note("ended")


@app.task(name="slow")
def slow() -> None:
    """Long enough for the others to be settled on their own."""
    _note("started")
    time.sleep(0.15)
    _note("ended")


CALLS: tuple[tuple[str, Callable[[str], Any]], ...] = (
    ("the-shaky", lambda id: shaky.using(task_id=id, link=then.s())),
    ("the-broken", lambda id: broken.using(task_id=id, link_error=sorry.s())),
    ("the-locked", lambda id: locked.using(task_id=id)),
    ("the-slow", lambda id: slow.using(task_id=id)),
)
TASKS = ["broken", "locked", "shaky", "slow", "sorry", "then"]


class Story:
    """One telling, with one fault; an act whose process died is acted again without it."""

    def __init__(self, folder: Path, plan: Callable[[], Plan], url: str | None) -> None:
        global _journal
        self.url = url or f"sqlite:///{folder}/story.sqlite3?durability=off"
        self._name = folder.name  # each story has a namespace of its own
        self.journal = _journal = Journal(folder / "journal")
        self._plan: Callable[[], Plan] | None = plan
        self._now = VirtualClock().now_ms()
        self.died = self.fired = False
        self.failed = 0

    def tell(self) -> str | None:
        """From publish to end; None, or what went wrong."""
        if self._fork(self._publish) == DIED:
            self._fork(self._publish)
        for number in range(8):
            owner = f"story:{number}"
            if self._fork(lambda engine, owner=owner: self._register(engine, owner)) == DIED:  # type: ignore[misc]
                continue  # an owner's id is not used twice: another one takes its place, and its lease ends
            status = self._fork(lambda engine, owner=owner: self._work(engine, owner))  # type: ignore[misc]
            started = None if status == DIED else ()  # None: nobody can tell what had started
            if self._fork(lambda engine, o=owner, s=started: self._bury(engine, o, s)) == DIED:  # type: ignore[misc]
                self._fork(lambda engine, o=owner, s=started: self._bury(engine, o, s))  # type: ignore[misc]
            if self.failed:
                return f"an act ended with status {self.failed}"
            if self._is_over():
                return None
        return "not at its end after 8 workers"

    # --- the acts, each in a fork ---

    def _publish(self, engine: Any) -> None:
        for id, call in CALLS:
            self.journal.note("attempted", id)
            _insist(call(id).delay)
            self.journal.note("confirmed", id)

    def _register(self, engine: Any, owner: str) -> None:
        _insist(lambda: engine.reap(grace=0.0))
        _insist(lambda: engine.register(owner, LEASE))
        _insist(lambda: engine.renew(owner, LEASE))

    def _work(self, engine: Any, owner: str) -> None:
        from reliq.worker.bench import Bench, capacity
        from reliq.worker.board import Board
        from reliq.worker.options import WorkerOptions

        options = WorkerOptions(grace=2.0)
        bench = Bench(app, options, Board(capacity(options)), owner)
        bench._fetcher._limit = len(CALLS)  # all at once, so that some are settled while another runs
        watch = self._open(app.clock)
        threading.Thread(target=_stop_at_the_end, args=(bench, watch), daemon=True).start()
        bench.run()

    def _bury(self, engine: Any, owner: str, started: tuple[()] | None) -> None:
        _insist(lambda: engine.bury(owner, started=started))

    def _fork(self, act: Callable[[Any], None]) -> int:
        plan, self._now = self._plan, self._now + 2_000_000  # longer than a lease
        pid = os.fork()
        if pid == 0:
            os._exit(self._child(act, plan))
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code in (FIRED, DIED):
            self.fired, self._plan = True, None
        self.died |= code == DIED
        self.failed |= 0 if code in (0, FIRED, DIED) else code
        return code

    def _child(self, act: Callable[[Any], None], plan: Callable[[], Plan] | None) -> int:
        try:
            clock = VirtualClock(start=self._now)
            engine: Any = self._open(clock)
            if plan is not None:
                engine = Faulty(engine, plan())
            app.use_engine(engine, clock)
            act(engine)
            return FIRED if plan is not None and engine.faults else 0
        except BaseException:
            traceback.print_exc()
            return 1

    def _open(self, clock: Any = None) -> Any:
        return open_engine(self.url, app=self._name, clock=clock)

    # --- the end ---

    def _is_over(self) -> bool:
        engine = self._open()
        try:
            records = list(all_records(engine))
            return len(records) == len(TASKS) and all(record.state in ENDED for record in records)
        finally:
            engine.close()

    def complaints(self) -> Iterator[str]:
        """What must hold and does not."""
        engine = self._open()
        try:
            report = check(read(self.journal.path), engine, children=True, max_retries=1, max_crashes=2)
            yield from (f"{invariant}: {what}" for invariant, what in report.broken)
            states = {record.task: record.state for record in all_records(engine)}
            if sorted(states) != TASKS:
                yield f"records of {sorted(states)}"
            if states != {**dict.fromkeys(TASKS, "done"), "broken": "failed"}:
                yield f"states {states}"
            if list(records(engine, "once:")):
                yield "the lock outlived its message"
            if report.duplicated and not self.died:
                yield f"{report.duplicated} tasks ran again although nothing died"
        finally:
            engine.close()


def _insist(call: Callable[[], object]) -> None:
    while True:
        try:
            call()
            return
        except (BrokerUnavailable, PublishUnknown, PublishRefused) as error:
            if getattr(error, "guard", None) is not None:
                raise
            time.sleep(0.001)


def _stop_at_the_end(bench: Any, watch: Any) -> None:
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        records = list(all_records(watch))
        if len(records) == len(TASKS) and all(record.state in ENDED for record in records):
            break
        app.clock.advance(0.2)  # type: ignore[attr-defined]
        time.sleep(0.02)
    bench.stop()


def tell(folder: Path, operation: str, number: int, fault: Any, url: str | None) -> dict[str, Any]:
    """One story and what became of it."""
    folder.mkdir(parents=True)
    story = Story(folder, lambda: at(number, fault, operations=frozenset({operation})), url)
    error = story.tell()
    complaints = [error] if error else list(story.complaints())
    return {
        "operation": operation,
        "number": number,
        "fault": fault,
        "fired": story.fired,
        "complaints": complaints,
    }


def main(folder: Path, cases: list[tuple[str, int, str]], url: str | None) -> None:
    logging.disable()  # tasks fail and processes die here on purpose
    for operation, number, fault in cases:
        for attempt in range(10):  # whether the flusher settles alone hangs on who is how fast
            name = f"{operation}-{number}-{fault}-{attempt}"
            told = tell(folder / name, operation, number, fault, url)
            if told["fired"]:
                break
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None)
