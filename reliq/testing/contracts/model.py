"""The rules once more, as plain Python: one list of messages, no lock, no index, nothing clever.

An engine under test walks beside this model: the same calls, the same answers, the same records after each step.  Where
an engine is fast, the model looks through the whole list.  It does not block, and it does not refuse forks.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace as changed

from reliq.policy.clock import Clock
from reliq.ports.refusals import refused_replay
from reliq.ports.values import (
    Applied,
    Audit,
    Cancelled,
    Claimed,
    Delivery,
    Depth,
    Ended,
    Moved,
    OwnerInfo,
    Publication,
    Published,
    Receipt,
    Record,
    Renewal,
    Settled,
    Settlement,
    State,
    Transition,
)
from reliq.testing.contracts.model_store import ModelStore
from reliq.wire.codec import encode
from reliq.wire.message import Effect, Envelope, FollowUp, Guard

WAITING = ("ready", "due")
LIVE = ("ready", "due", "leased")


@dataclass
class Entry:
    """A message: its record, and what the record does not tell."""

    record: Record
    envelope: Envelope
    place: int
    settled: int | None = None

    def set(self, **fields: Any) -> None:
        self.record = changed(self.record, **fields)

    @property
    def receipt(self) -> Receipt:
        return Receipt(self.record.id, self.record.owner or "", self.record.fence)


@dataclass
class OwnerEntry:
    since: int
    expires: int
    about: dict[str, str]
    lease: int = 0
    seq: int | None = None
    batch: list[Receipt] = field(default_factory=list)


class Model(ModelStore):
    """The broker and the store."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock.now_ms, self.state_and_due_of, self.drop_if_waiting, self.fence_of)
        self.entries: list[Entry] = []  # in the order of acceptance
        self.windows: dict[str, int] = {}  # until when an id is a duplicate though its record may be gone
        self.owners_by_name: dict[str, OwnerEntry] = {}
        self.accepted = 0
        self.endings: Counter[str] = Counter()
        self.places = 0
        self.unfinished: list[tuple[Entry, State, bytes | None]] = []

    # --- looking through the list ---

    def find(self, id: str) -> Entry | None:
        return next((entry for entry in self.entries if entry.record.id == id), None)

    def those(self, *states: str, queue: str | None = None, owner: str | None = None) -> list[Entry]:
        return [
            entry
            for entry in self.entries
            if entry.record.state in states
            and queue in (None, entry.record.queue)
            and owner in (None, entry.record.owner)
        ]

    def ready(self, queue: str, *, charged: bool) -> list[Entry]:
        """In the order in which they are claimed."""
        entries = [
            entry for entry in self.those("ready", queue=queue) if (entry.record.crashes > 0) is charged
        ]
        return sorted(entries, key=lambda entry: (-entry.record.priority, entry.place))

    def state_and_due_of(self, id: str) -> tuple[State, int] | None:
        entry = self.find(id)
        return (entry.record.state, entry.record.due) if entry else None

    def fence_of(self, id: str) -> int | None:
        entry = self.find(id)
        return entry.record.fence if entry else None

    # --- the moves ---

    def next_place(self) -> int:
        self.places += 1
        return self.places

    def move(
        self,
        entry: Entry,
        state: State,
        reason: str | None = None,
        *,
        to: str = "",
        error: bytes | None = None,
        **more: Any,
    ) -> None:
        """Change the state, and tell it in the story."""
        owner = entry.record.owner or more.get("owner")
        entry.set(**{"owner": None, "claimed": None, **more, "state": state, "reason": reason})
        if error is not None:
            entry.set(error=error)
        record = entry.record
        step = Transition(
            self.now(),
            to or state,
            reason,
            owner,
            record.attempt,
            record.fence,
            record.due if (to or state) == "due" else None,
            error,
        )
        entry.set(transitions=(*record.transitions, step)[-16:], alone=state in LIVE and record.crashes > 0)

    def accept(self, envelope: Envelope) -> Entry:
        now = self.now()
        due = envelope.eta if envelope.eta is not None else now + (envelope.delay or 0)
        due = max(due, now)
        ends = [envelope.expires]
        ends += [now + envelope.expires_in if envelope.expires_in is not None else None]
        ends += [due + envelope.expires_after_due if envelope.expires_after_due is not None else None]
        expires = min((end for end in ends if end is not None), default=None)
        record = Record(
            envelope.id,
            envelope.task,
            envelope.queue,
            "ready",
            priority=envelope.priority,
            published=now,
            due=due,
            expires=expires,
            payload=encode(envelope),
        )
        entry = Entry(record, envelope, self.next_place())
        self.entries.append(entry)
        self.windows[envelope.id] = now + (86_400_000 if envelope.chosen else 60_000)
        self.accepted += 1
        self.move(entry, "due" if due > now else "ready")
        return entry

    def wait(
        self, entry: Entry, due: int, reason: str | None, error: bytes | None = None, **more: Any
    ) -> None:
        self.move(entry, "due", reason, error=error, due=max(due, self.now()), **more)

    def end(
        self,
        entry: Entry,
        state: State,
        reason: str | None,
        value: bytes | None = None,
        error: bytes | None = None,
    ) -> None:
        envelope = entry.envelope
        life = envelope.keep_failed if state == "failed" else envelope.keep
        self.move(entry, state, reason, error=error, ended=self.now(), gone=self.now() + life)
        if state == "done":
            entry.set(error=None)
        entry.set(value=value if envelope.keep_result else None)
        self.endings[state] += 1
        self.unfinished.append((entry, state, value))

    def finish(self) -> None:
        """`on_end` of all that ended, and of what that ends."""
        while self.unfinished:
            entry, state, value = self.unfinished.pop(0)
            for ending in entry.envelope.on_end:
                if ending.on in (state, "any"):
                    self.apply_effects(ending.effects, entry.record.due)
                    self.follow(entry, ending.follow_ups, value)

    def follow(self, parent: Entry, follow_ups: Sequence[FollowUp], value: bytes | None) -> None:
        for follow_up in follow_ups:
            envelope = follow_up.envelope
            if self.is_duplicate(envelope.id):
                continue
            if follow_up.takes:
                first = parent.record.id if follow_up.takes == "id" else json.loads(value or b"null")
                positional, named = json.loads(envelope.body)
                body = json.dumps([[first, *positional], named], separators=(",", ":")).encode()
                envelope = changed(envelope, body=body)
            self.accept(envelope)

    def drop_if_waiting(self, id: str, reason: str) -> bool:
        entry = self.find(id)
        if entry is None or entry.record.state not in WAITING:
            return False
        self.end(entry, "dropped", reason)
        return True

    def is_duplicate(self, id: str) -> bool:
        return self.find(id) is not None or self.windows.get(id, 0) > self.now()

    def has_expired(self, entry: Entry) -> bool:
        return entry.record.expires is not None and entry.record.expires <= self.now()

    # --- publishers ---

    def publish(self, publications: Sequence[Publication]) -> list[Published]:
        return [self.publish_one(publication) for publication in publications]

    def publish_one(self, publication: Publication) -> Published:
        id = publication.envelope.id
        if self.is_duplicate(id):
            return Published(id, "duplicate")
        while (found := self.first_refused(publication.guards)) is not None:
            holder = self.find((found.value and found.value.holder) or "")
            if holder is None or holder.record.state not in WAITING or not self.has_expired(holder):
                return Published(id, "refused", found)
            self.end(holder, "dropped", "expired")
            self.finish()
        if self.is_duplicate(id):  # what ended was followed by it
            return Published(id, "duplicate")
        due = self.accept(publication.envelope).record.due
        self.take(publication.guards, due)
        self.apply_effects(publication.effects, due)
        self.finish()
        return Published(id, "accepted")

    def cancel(self, id: str, *, reason: str = "cancelled") -> Cancelled:
        entry = self.find(id)
        if entry is None:
            return Cancelled("unknown")
        if self.drop_if_waiting(id, reason):
            self.finish()
            return Cancelled("cancelled", "dropped")
        if entry.record.state == "leased":
            entry.set(cancel=True)
            return Cancelled("requested", "leased")
        return Cancelled("ended", entry.record.state)

    def get(self, id: str) -> Record | None:
        entry = self.find(id)
        return entry.record if entry else None

    def forget(self, id: str) -> bool:
        entry = self.find(id)
        if entry is None or entry.record.state in LIVE:
            return False
        story = tuple(changed(step, error=None) for step in entry.record.transitions)
        entry.set(value=None, error=None, transitions=story)
        return True

    def apply(self, guards: Sequence[Guard], effects: Sequence[Effect]) -> Applied:
        if (found := self.first_refused(guards)) is not None:
            return Applied(False, found)
        self.take(guards, self.now())
        skipped = self.apply_effects(effects, self.now())
        self.finish()
        return Applied(True, skipped=skipped)

    # --- workers ---

    def register(self, owner: str, lease: float, about: Mapping[str, str] | None = None) -> None:
        known = self.owners_by_name.setdefault(owner, OwnerEntry(self.now(), 0, dict(about or {})))
        known.lease = math.ceil(lease * 1000)
        known.expires = self.now() + known.lease

    def claim(
        self,
        owner: str,
        queues: Sequence[str],
        *,
        limit: int,
        seq: int,
        settlements: Sequence[Settlement] = (),
    ) -> Claimed:
        settled = tuple(self.settle(settlements))
        known = self.owners_by_name.get(owner)
        if known is None:
            return Claimed(settled, live=False)
        if limit <= 0 or (known.seq is not None and seq < known.seq):
            return Claimed(settled)
        if seq == known.seq:
            leased = self.those("leased", owner=owner)
            again = [entry for receipt in known.batch for entry in leased if entry.receipt == receipt]
            return Claimed(settled, tuple(map(delivery, again)))

        for entry in sorted(self.those(*WAITING), key=lambda entry: entry.record.expires or 0):
            if self.has_expired(entry) and entry.record.state in WAITING:
                self.end(entry, "dropped", "expired")
                self.finish()
        for queue in queues:
            self.promote(queue)
        held = self.those("leased", owner=owner)
        charged = [entry for queue in queues for entry in self.ready(queue, charged=True)]
        plain = [entry for queue in dict.fromkeys(queues) for entry in self.ready(queue, charged=False)]
        if any(entry.record.crashes for entry in held):
            taken = []
        elif charged and not held:
            taken = charged[:1]
        else:
            taken = plain[:limit]
        for entry in taken:
            fence = max(entry.record.fence + 1, self.now() * 1000)
            attempt = entry.record.attempt + 1
            self.move(entry, "leased", owner=owner, claimed=self.now(), fence=fence, attempt=attempt)
        if taken:
            known.seq, known.batch = seq, [entry.receipt for entry in taken]
        due = [entry.record.due for queue in queues for entry in self.those("due", queue=queue)]
        return Claimed(
            settled,
            tuple(map(delivery, taken)),
            next_due=None if taken else min(due, default=None),
            wants_alone=bool(held and charged),
        )

    def promote(self, queue: str) -> None:
        due = [entry for entry in self.those("due", queue=queue) if entry.record.due <= self.now()]
        for entry in sorted(due, key=lambda entry: entry.record.due):
            entry.place = self.next_place()
            self.move(entry, "ready")

    def held(self, owner: str) -> list[Receipt]:
        return [entry.receipt for entry in self.those("leased", owner=owner)]

    def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        return [self.settle_one(settlement) for settlement in settlements]

    def settle_one(self, settlement: Settlement) -> Settled:
        receipt = settlement.receipt
        entry = self.find(receipt.id)
        if entry is None:
            return Settled(receipt.id, "stale")
        if entry.record.state != "leased" or entry.receipt != receipt:
            return Settled(receipt.id, "repeated" if entry.settled == receipt.fence else "stale")

        entry.settled = receipt.fence
        record, kind = entry.record, settlement.kind
        if kind == "retry" or kind == "snooze":
            due = self.now() + (settlement.after or 0) if settlement.at is None else settlement.at
            if record.cancel:
                self.end(entry, "dropped", "cancelled", error=settlement.error)
            elif self.has_expired(entry):
                self.end(entry, "dropped", "expired", error=settlement.error)
            elif kind == "retry":
                self.wait(entry, due, settlement.reason, settlement.error, retries=record.retries + 1)
            else:
                counts = {"snoozes": record.snoozes + 1, "attempt": record.attempt - 1}
                self.wait(entry, due, settlement.reason, settlement.error, **counts)
        else:
            value = settlement.value if kind == "done" else None
            self.end(entry, kind, settlement.reason, value, settlement.error)
        skipped = self.apply_effects(settlement.effects, entry.record.due)
        self.follow(entry, settlement.follow_ups, settlement.value)
        self.finish()
        return Settled(receipt.id, "applied", skipped)

    def give_back(self, receipts: Sequence[Receipt]) -> int:
        honoured = 0
        for receipt in receipts:
            entry = self.find(receipt.id)
            if entry is None or entry.record.state != "leased" or entry.receipt != receipt:
                continue
            honoured += 1
            if entry.record.cancel:
                self.end(entry, "dropped", "cancelled")
                self.finish()
            else:
                self.move(entry, "ready", to="given_back", attempt=entry.record.attempt - 1)
        return honoured

    def renew(self, owner: str, lease: float) -> Renewal:
        known = self.owners_by_name.get(owner)
        if known is None:
            return Renewal(False)
        known.lease = math.ceil(lease * 1000)
        known.expires = self.now() + known.lease
        leased = self.those("leased", owner=owner)
        return Renewal(True, tuple(entry.record.id for entry in leased if entry.record.cancel))

    def bury(
        self, owner: str, *, started: Sequence[Receipt] | None, guilty: Sequence[Settlement] = ()
    ) -> Ended:
        if owner not in self.owners_by_name:
            return Ended()
        held = self.those("leased", owner=owner)
        begun = [entry.record.id for entry in held if started is None or entry.receipt in started]
        for settlement in guilty:
            if settlement.receipt.owner == owner:
                self.settle_one(settlement)
        for entry in self.those("leased", owner=owner):
            record = entry.record
            if record.cancel:
                self.end(entry, "dropped", "cancelled")
            elif record.id not in begun:
                self.move(entry, "ready", "process died", to="given_back", attempt=record.attempt - 1)
            elif guilty:
                self.move(entry, "ready", "process died", to="given_back")
            else:
                self.charge(entry)
            self.finish()
        del self.owners_by_name[owner]
        return Ended(tuple(moved(entry) for entry in held), (owner,))

    def charge(self, entry: Entry) -> None:
        crashes = entry.record.crashes + 1
        entry.set(crashes=crashes)
        if crashes > 1 and crashes >= entry.envelope.max_crashes:
            self.end(entry, "failed", f"crashed {crashes} times")
        else:
            self.wait(entry, self.now() + min(60_000, 1000 * 2 ** (crashes - 1)), "crashed")

    def reap(self, limit: int = 1000, *, grace: float = 0.0) -> Ended:
        """All there is to do; the model knows no portions."""
        report: list[Moved] = []
        for o in self.owners_by_name.values():
            o.expires = min(o.expires, self.now() + o.lease)  # the clock may have been set back
        over = [name for name, o in self.owners_by_name.items() if o.expires < self.now() - grace * 1000]
        for name in over:
            report += self.bury(name, started=None).moved
        while expired := [entry for entry in self.those(*WAITING) if self.has_expired(entry)]:
            entry = min(expired, key=lambda entry: entry.record.expires or 0)
            self.end(entry, "dropped", "expired")
            self.finish()
            report.append(moved(entry))
        for queue in self.queues():
            self.promote(queue)
        over_age = [
            entry
            for entry in self.entries
            if entry.record.gone is not None and entry.record.gone <= self.now()
        ]
        for entry in over_age:
            self.entries.remove(entry)
        self.collect()
        return Ended(tuple(report), tuple(over), len(over_age))

    # --- operators ---

    def queues(self) -> list[str]:
        return sorted({entry.record.queue for entry in self.those(*LIVE)})

    def depth(self, queue: str) -> Depth:
        ready, due, leased = (self.those(state, queue=queue) for state in LIVE)
        oldest = min((entry.record.due for entry in ready), default=None)
        return Depth(queue, len(ready), len(due), len(leased), oldest)

    def owners(self) -> list[OwnerInfo]:
        return [
            OwnerInfo(name, "live", o.since, o.expires, len(self.held(name)), o.about)
            for name, o in self.owners_by_name.items()
        ]

    def records(self) -> Iterator[Record]:
        return (entry.record for entry in self.entries)

    def replay(self, id: str, *, queue: str | None = None) -> bool:
        entry = self.find(id)
        if entry is None or entry.record.state != "failed":
            return False
        if (found := self.first_refused(entry.envelope.on_replay)) is not None:
            raise refused_replay(id, found)
        self.endings["failed"] -= 1
        entry.place = self.next_place()
        entry.set(attempt=0, retries=0, crashes=0, snoozes=0, life=entry.record.life + 1, cancel=False)
        entry.set(expires=None, ended=None, gone=None, value=None, error=None)
        self.move(entry, "ready", "replayed", due=self.now(), queue=queue or entry.record.queue)
        self.take(entry.envelope.on_replay, self.now())
        self.finish()
        return True

    def remove(self, id: str) -> bool:
        entry = self.find(id)
        if entry is None or entry.record.state in LIVE:
            return False
        self.entries.remove(entry)
        return True

    def purge(self, queue: str) -> int:
        purged = 0
        for entry in self.those(*WAITING, queue=queue):
            if entry.record.state in WAITING:
                self.end(entry, "dropped", "purged")
                self.finish()
                purged += 1
        return purged

    def audit(self) -> Audit:
        states = {state: len(self.those(state)) for state in LIVE}
        states |= {state: self.endings[state] for state in ("done", "failed", "dropped")}
        return Audit(self.accepted, states)


def delivery(entry: Entry) -> Delivery:
    record = entry.record
    return Delivery(
        entry.receipt,
        record.payload,
        record.attempt,
        record.retries,
        record.crashes,
        record.snoozes,
        record.published,
        record.due,
        record.crashes > 0,
    )


def moved(entry: Entry) -> Moved:
    record = entry.record
    return Moved(record.id, record.task, record.queue, record.state, record.reason)
