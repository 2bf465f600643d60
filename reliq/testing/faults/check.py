"""The verdict on a run: the journals against the broker's records, by the invariants that must hold under any fault.

    I1   every confirmed id ended done, failed or dropped
    I2   only attempted ids ran, and only they (and their follow-ups) have records
    I3   at most one live copy per id: no claim of a message was started twice
    I4   exactly one accepted settlement per id
    I5   extra executions <= what was leased at the kills (as far as the journals say how much that was)
    I6   executions per id <= 1 + max_retries + max_crashes + snoozes
    I7   what ran in a killed process went on within a given time
    I11  accepted = sum of all states

I8 (rates), I9 (memory, keys) and I10 (effects in the user's database) are for the test that has them at hand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from reliq.ports.broker import Broker
from reliq.ports.values import ENDED, Record
from reliq.testing.faults.journal import Fact

__all__ = ["Report", "check"]

PAGE = 20_000  # records; on Redis each page looks at every message there is


@dataclass(slots=True)
class Report:
    """What happened, in classes that can be printed, and which invariants broke."""

    attempted: int = 0
    confirmed: int = 0
    refused: int = 0
    done: int = 0
    failed: int = 0
    dropped: int = 0
    lost: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    duplicated: int = 0  # executions beyond the first of an id that no retry or snooze asked for
    in_flight: int | None = None  # what was leased at the kills, where the journals say
    slowest_reclaim: float = 0.0
    broken: list[tuple[str, str]] = field(default_factory=list)  # (invariant, what broke it)

    @property
    def ok(self) -> bool:
        return not self.broken

    def __str__(self) -> str:
        known = "" if self.in_flight is None else f" (<= {self.in_flight} leased at the kills)"
        lines = [
            f"attempted {self.attempted:,} · confirmed {self.confirmed:,} · refused {self.refused:,}",
            f"done {self.done:,} · failed {self.failed:,} · dropped {self.dropped:,} · lost {len(self.lost):,} · "
            f"unexpected {len(self.unexpected):,} · duplicated {self.duplicated:,}{known}",
        ]
        lines += [f"BROKEN {invariant}: {what}" for invariant, what in self.broken[:20]]
        return "\n".join(lines)


def check(
    facts: Sequence[Fact],
    broker: Broker,
    *,
    max_retries: int = 0,
    max_crashes: int = 3,
    reclaim_within: float | None = None,
    children: bool = False,
) -> Report:
    """Hold the journals against the broker, once everything has ended.

    reclaim_within  seconds that a message may need to go on after the process it ran in was killed (I7)
    children        tasks publish others: records and runs of ids that no journal knows are then expected
    """
    by_kind = _by_kind(facts)
    report = Report(
        attempted=len({f.id for f in by_kind("attempted")}),
        confirmed=len({f.id for f in by_kind("confirmed")}),
        refused=len({f.id for f in by_kind("refused")}),
    )
    records = {record.id: record for record in all_records(broker)}
    attempted = {f.id for f in by_kind("attempted")}
    _check_ends(report, records, {f.id for f in by_kind("confirmed")})
    _check_expected(report, records, attempted, {f.id for f in by_kind("started")}, children)
    _check_runs(report, records, by_kind("started"), max_retries, max_crashes)
    _check_settlements(report, by_kind("settled"))
    _check_stories(report, broker, by_kind("started"))
    _check_in_flight(report, by_kind("killed"))
    _check_reclaims(report, facts, records, reclaim_within)
    audit = broker.audit()
    if not audit.balanced:
        report.broken.append(
            ("I11", f"accepted {audit.accepted}, states {dict(audit.states)}, {audit.broken[:5]}")
        )
    return report


def all_records(broker: Broker, *, queue: str | None = None) -> Iterable[Record]:
    """Every record there is (of one queue)."""
    after: str | None = None
    while page := broker.list(queue=queue, limit=PAGE, after=after):
        yield from page
        after = page[-1].id


def _by_kind(facts: Iterable[Fact]) -> Callable[[str], list[Fact]]:
    found: dict[str, list[Fact]] = {}
    for fact in facts:
        found.setdefault(fact.kind, []).append(fact)
    return lambda kind: found.get(kind, [])


def _check_ends(report: Report, records: dict[str, Record], confirmed: set[str]) -> None:
    states = Counter(record.state for record in records.values())
    report.done, report.failed, report.dropped = states["done"], states["failed"], states["dropped"]
    for id in sorted(confirmed):
        record = records.get(id)
        if record is None or record.state not in ENDED:
            report.lost.append(id)
            report.broken.append(("I1", f"{id} was confirmed and is {record.state if record else 'nowhere'}"))
    for record in records.values():
        if record.state not in ENDED and record.id not in confirmed:
            report.broken.append(("I1", f"{record.id} was accepted without a confirm and is {record.state}"))
        if record.state in ("failed", "dropped") and not record.reason:
            report.broken.append(("I1", f"{record.id} is {record.state} without a reason"))


def _check_expected(
    report: Report, records: dict[str, Record], attempted: set[str], started: set[str], children: bool
) -> None:
    strangers = set() if children else (records.keys() | started) - attempted
    strangers |= started - records.keys()
    for id in sorted(strangers):
        report.unexpected.append(id)
        report.broken.append(("I2", f"{id} ran or has a record, and nobody published it"))


def _check_runs(
    report: Report, records: dict[str, Record], started: list[Fact], max_retries: int, max_crashes: int
) -> None:
    claims = Counter((f.id, f.details["fence"]) for f in started if "fence" in f.details)
    for (id, fence), times in claims.items():
        if times > 1:
            report.broken.append(("I3", f"{id} was started {times} times under fence {fence}"))
    for id, runs in Counter(f.id for f in started).items():
        record = records.get(id)
        if record is None:
            continue
        report.duplicated += max(0, runs - 1 - record.retries - record.snoozes)
        allowed = 1 + max_retries + max_crashes + record.snoozes
        if runs > allowed:
            report.broken.append(("I6", f"{id} ran {runs} times, {allowed} are allowed"))


def _check_settlements(report: Report, settled: list[Fact]) -> None:
    ends = [f for f in settled if f.details.get("state") in ENDED]
    accepted = Counter(f.id for f in ends if f.details.get("answer") == "applied")
    for id, times in accepted.items():
        if times > 1:
            report.broken.append(("I4", f"{times} settlements of {id} were accepted"))


def _check_stories(report: Report, broker: Broker, started: list[Fact]) -> None:
    runs = Counter(f.id for f in started)
    for id in (id for id, times in runs.items() if times > 1):
        record = broker.get(id)
        if record is not None and record.life == 1 and record.state in ENDED:
            ends = sum(1 for step in record.transitions if step.to in ENDED)
            if ends != 1:
                report.broken.append(("I4", f"{id} ended {ends} times by its own story"))


def _check_in_flight(report: Report, killed: list[Fact]) -> None:
    if not killed or not all("leased" in f.details for f in killed):
        return
    report.in_flight = sum(int(f.details["leased"]) for f in killed)
    if report.duplicated > report.in_flight:
        what = f"{report.duplicated} extra executions, {report.in_flight} were leased at the kills"
        report.broken.append(("I5", what))


def _check_reclaims(
    report: Report, facts: Sequence[Fact], records: dict[str, Record], within: float | None
) -> None:
    running: dict[str, Fact] = {}  # id -> its start, while nobody ended it
    waiting: dict[str, float] = {}  # id -> when the process it ran in was killed
    for fact in facts:
        if fact.kind == "started":
            running[fact.id] = fact
            if fact.id in waiting:
                report.slowest_reclaim = max(report.slowest_reclaim, fact.at - waiting.pop(fact.id))
        elif fact.kind == "ended":
            running.pop(fact.id, None)
        elif fact.kind == "killed":
            dead = {int(pid) for pid in fact.details.get("pids", "").split(",") if pid}
            for id in [id for id, start in running.items() if start.pid in dead]:
                waiting[id] = fact.at
                del running[id]
    if within is not None and report.slowest_reclaim > within:
        what = f"a message waited {report.slowest_reclaim:.1f} s after a kill, {within:.1f} s are allowed"
        report.broken.append(("I7", what))
