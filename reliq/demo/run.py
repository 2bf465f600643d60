"""A run of the demo, step by step: publish, (forge,) work and kill, prove."""

from __future__ import annotations

import os
import platform
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reliq.demo.app import JOURNALS, app, count, poison
from reliq.demo.display import Display
from reliq.demo.kills import Kill, kill_one
from reliq.demo.plan import Plan
from reliq.demo.proof import Proof, Tally, is_quarantined, prove, tally
from reliq.demo.sabotage import forge
from reliq.demo.sources import ROOT, count_all
from reliq.errors import ConfigError, ReliqError
from reliq.ports.values import Record
from reliq.results import Handle
from reliq.testing.faults.check import all_records
from reliq.testing.faults.fleet import Fleet
from reliq.testing.faults.journal import Fact, read

LEASE, RENEWAL = 3.0, 1.0
_BATCH = 100
_TIMEOUT = 180.0
_WORK = "tasks"
_PASS = "plain pass"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    tally: Tally
    proof: Proof
    kills: list[Kill]
    examples: dict[str, str]  # what happened -> the id of a message to which it did


def run_demo(plan: Plan, *, url: str, folder: Path, sabotage: bool, display: Display) -> Outcome:
    """The whole run; `ReliqError` when it cannot even begin or does not end."""
    app.conf.override({"broker": url}, source="reliq demo")
    if not app.broker.capabilities.shared:
        raise ConfigError(
            f"{url} lives in one process, and the demo's workers are others; give no --broker, or a file"
        )
    queue = f"demo-{plan.seed}-{os.getpid()}"
    journals = folder / "journals"
    journals.mkdir()
    (folder / "run").mkdir(mode=0o700)
    app.broker.queues()  # a server says what it promises once it was reached
    display.say(f"{app.broker.url}: {app.broker.capabilities.durability}")
    published, refused = _publish(plan, queue, display)
    if sabotage:
        forged = forge(app.broker, queue)
        display.say(f"sabotage: {published[forged]} was settled as done, and nobody has run it")
    environment = {
        "RELIQ_BROKER": url,
        "RELIQ_LEASE": str(LEASE),
        "RELIQ_RENEW_EVERY": str(RENEWAL),
        JOURNALS: str(journals),
        "XDG_RUNTIME_DIR": str(folder / "run"),  # a killed worker cannot take its health file away
    }
    arguments = ["-A", "reliq.demo.app:app", "-c", "1", "-Q", queue]
    with Fleet(arguments, size=2, folder=folder, environment=environment) as fleet:
        display.say(
            f"two workers: lease {LEASE:.0f} s, renewal {RENEWAL:.0f} s "
            "(what a lost worker held runs elsewhere after that)"
        )
        kills = _work(plan, fleet, queue, journals, len(published), display)
        fleet.stop()
    facts = read(*journals.iterdir())
    records = {r.id: r for r in all_records(app.broker, queue=queue)}
    display.say("one plain pass over the same files, to compare")
    expected = count_all(_shown(plan.paths, display))
    proof = prove(
        published=published, records=records, facts=facts, audit=app.broker.audit(), expected=expected
    )
    return Outcome(tally(records, facts, refused), proof, kills, _examples(records, facts))


def _publish(plan: Plan, queue: str, display: Display) -> tuple[dict[str, str | None], int]:
    published: dict[str, str | None] = {}
    refused = 0
    for start in range(0, len(plan.calls), _BATCH):
        calls = plan.calls[start : start + _BATCH]
        for (path, _), handle in zip(calls, app.publish_many(count, calls, queue=queue), strict=True):
            if not isinstance(handle, Handle):
                raise handle
            if handle.id is None:
                refused += 1
            else:
                published[handle.id] = path
    missing = len(set(plan.paths) - set(published.values()))
    if missing:
        raise ReliqError(
            f"{missing:,} files are queued by an earlier demo on this broker; "
            "let its messages end, or use another broker"
        )
    for number in range(plan.poisons):
        published[poison.using(queue=queue).delay(number).id] = None
    display.say(
        f"{len(plan.paths):,} source files of Python {platform.python_version()} in {ROOT}: "
        "a task for each, to count its classes, functions and lines"
    )
    display.say(f"{plan.poisons} more tasks kill their process each time they run")
    display.say(
        f"published {len(published):,}; refused {refused:,} duplicates, as their file was queued (QueueOnce)"
    )
    return published, refused


def _work(plan: Plan, fleet: Fleet, queue: str, journals: Path, total: int, display: Display) -> list[Kill]:
    dice = random.Random(plan.seed)
    waiting = list(plan.kills)
    kills: list[Kill] = []
    until = time.monotonic() + _TIMEOUT
    while (left := _left(queue)) > 0:
        display.progress(_WORK, total - left, total)
        _check(fleet, until, left)
        if waiting and (total - left) / total >= waiting[0]:
            waiting.pop(0)
            kill = kill_one(fleet, journals, dice)
            if kill is not None:
                kills.append(kill)
                display.say(f"killed worker {kill.worker} and its child while a task ran: {kill.path}")
        time.sleep(0.05)
    display.progress(_WORK, total, total)
    return kills


def _left(queue: str) -> int:
    depth = app.broker.depth(queue)
    return depth.ready + depth.due + depth.leased


def _check(fleet: Fleet, until: float, left: int) -> None:
    for worker in fleet.workers:
        if worker.exit_status is not None:
            raise ReliqError(f"A worker ended by itself, status {worker.exit_status}:\n{worker.tail()}")
    if time.monotonic() > until:
        raise ReliqError(f"{left:,} tasks are left after {_TIMEOUT:.0f} s:\n{fleet.workers[0].tail()}")


def _shown(paths: Sequence[str], display: Display) -> Iterator[str]:
    for number, path in enumerate(paths, 1):
        yield path
        display.progress(_PASS, number, len(paths))


def _examples(records: Mapping[str, Record], facts: list[Fact]) -> dict[str, str]:
    found: dict[str, str] = {}
    for record in records.values():
        if is_quarantined(record):
            found.setdefault("quarantined", record.id)
        elif record.retries:
            found.setdefault("retried", record.id)
        elif record.crashes:
            found.setdefault("killed", record.id)
    return found
