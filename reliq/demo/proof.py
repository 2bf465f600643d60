"""The proof: what the tasks noted themselves, against one plain pass over the same files.  Pure decisions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from reliq.demo.sources import Counts
from reliq.ports.values import ENDED, Audit, Record
from reliq.testing.faults.journal import Fact


@dataclass(frozen=True, slots=True)
class Tally:
    """What happened, for the table."""

    published: int
    refused: int
    run: int
    repeated: int
    retried: int
    quarantined: int


@dataclass(slots=True)
class Proof:
    """Both totals and every claim that was checked, with what speaks against it."""

    counted: Counts
    expected: Counts
    discarded: int  # completed runs whose worker died before the settlement: they do not count
    claims: list[tuple[str, str | None]] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return all(against is None for _, against in self.claims)


def tally(records: Mapping[str, Record], facts: Sequence[Fact], refused: int) -> Tally:
    """The table's numbers."""
    runs = Counter(fact.id for fact in facts if fact.kind == "started")
    retried = sum(record.retries for record in records.values())
    return Tally(
        published=len(records),
        refused=refused,
        run=runs.total(),
        repeated=runs.total() - len(runs) - retried,
        retried=retried,
        quarantined=sum(1 for record in records.values() if is_quarantined(record)),
    )


def prove(
    *,
    published: Mapping[str, str | None],
    records: Mapping[str, Record],
    facts: Sequence[Fact],
    audit: Audit,
    expected: Counts,
) -> Proof:
    """Hold the journals against the plain pass.

    A message may have been run to its end more than once, if its worker was killed before it could settle; then only
    the run whose settlement the broker accepted counts: its fence is the one in the record.

    published  id -> the file to count, None for a task that only does harm
    """
    files = {id: path for id, path in published.items() if path is not None}
    counted = [fact for fact in facts if fact.kind == "counted"]
    accepted = [fact for fact in counted if _is_accepted(fact, records)]
    proof = Proof(_sum(accepted), expected, discarded=len(counted) - len(accepted))
    lost = [id for id in published if id not in records or records[id].state not in ENDED]
    strangers = {fact.id for fact in facts} - published.keys()
    bad = {id: record for id, record in records.items() if record.state in ("failed", "dropped")}
    undone = [f"{path} ({bad[id].reason})" for id, path in files.items() if id in bad]
    times = Counter(fact.id for fact in accepted)
    forged = [path for id, path in files.items() if _is_done(records.get(id)) and times[id] != 1]
    proof.claims = [
        ("every accepted message has ended", _list(lost, "has not ended")),
        ("only published messages ran", _list(sorted(strangers), "was never published")),
        ("no file failed for good or was dropped", _list(undone, "did")),
        ("every completion the broker accepted stands in a journal, once", _list(forged, "does not")),
        ("the totals are equal", None if proof.counted == expected else _difference(proof.counted, expected)),
        (
            "the broker's books balance",
            None if audit.balanced else f"{audit.accepted} accepted, {dict(audit.states)}",
        ),
    ]
    return proof


def _is_done(record: Record | None) -> bool:
    return record is not None and record.state == "done"


def is_quarantined(record: Record) -> bool:
    return record.state == "failed" and (record.reason or "").startswith("crashed")


def _is_accepted(fact: Fact, records: Mapping[str, Record]) -> bool:
    record = records.get(fact.id)
    return record is not None and record.state == "done" and fact.details["fence"] == str(record.fence)


def _sum(facts: Iterable[Fact]) -> Counts:
    total = Counts()
    for fact in facts:
        total = total.plus(Counts(*(int(fact.details[name]) for name in Counts._fields)))
    return total


def _list(found: Sequence[str], what: str) -> str | None:
    if not found:
        return None
    more = f" (and {len(found) - 3:,} more)" if len(found) > 3 else ""
    return ", ".join(found[:3]) + f" {what}{more}"


def _difference(counted: Counts, expected: Counts) -> str:
    names = (n for n in Counts._fields if getattr(counted, n) != getattr(expected, n))
    return ", ".join(f"{n}: {getattr(counted, n):,} is not {getattr(expected, n):,}" for n in names)
