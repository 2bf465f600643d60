"""Looking at the locks of an app, and mending them: what `reliq once` shows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from reliq.errors import BrokerError, ReliqError
from reliq.ports import Equals, Remove, Value, records
from reliq_once.ticket import LOCK, SLOT, LockRecord, record_of

if TYPE_CHECKING:
    from reliq import Reliq, Tally

_LOOK_AT = 5_000  # locks that a doctor examines: each costs a look at its message


class Lock(msgspec.Struct, frozen=True):
    """A lock or a slot as it stands.

    state   where its holder is: ready, due, leased, done, failed, dropped; None: there is no record of it
    since, until   ms UTC; `until` None: while its holder lives
    meant   it is meant to outlive its holder (until="expiry", hold_on_failure)
    """

    key: str
    holder: str | None
    state: str | None
    task: str | None = None
    kind: str = "lock"
    since: int | None = None
    until: int | None = None
    meant: bool = False
    problem: str | None = None

    @property
    def live(self) -> bool:
        """Whether its holder still lives."""
        return self.state in ("ready", "due", "leased")


def locks(store: Any, *prefixes: str) -> Iterator[Lock]:
    """The locks and slots of a broker (or those under a prefix); looks at each holder."""
    for prefix in prefixes or (LOCK, SLOT):
        for key, value in records(store, prefix):
            yield look(store, key, value)


def look(store: Any, key: str, value: Value) -> Lock:
    """One of them."""
    holder = None if value.holder is None else store.get(value.holder)
    state = None if holder is None else holder.state
    record: LockRecord | None = None
    problem = None
    kind = "slot" if key.startswith(SLOT) else "lock"
    if value.data:
        try:
            record = record_of(key, value)
        except ReliqError as error:
            problem = str(error)
    leased = state == "leased"
    return Lock(
        key,
        value.holder,
        state,
        record.task if record else getattr(holder, "task", None),
        kind,
        record.since if record and record.since else None,
        None if leased or kind == "slot" else value.expires,
        record is not None and (record.frees == "e" or (record.hold and state == "failed")),
        problem,
    )


class Kept(ReliqError):
    """The lock is not removed: its message lives."""


def release(store: Any, key: str, *, force: bool = False) -> Lock | None:
    """Remove a lock; what it was, or None when there is none.

    `Kept` for one whose message lives: without it a second copy may be queued while the first one waits or runs.
    """
    value = store.store_get(key)
    if value is None:
        return None
    lock = look(store, key, value)
    if lock.live and not force:
        raise Kept(
            f"{key} is held by message {lock.holder}, which is {lock.state}: it frees the lock when it ends. "
            f"Cancel it (reliq cancel {lock.holder}), or add --force and a second copy can be queued beside it",
            key=key,
            existing_id=lock.holder,
        )
    # Only what was looked at: somebody else may have taken the key in between.
    return lock if store.apply((Equals(key, value.data),), (Remove(key, holder=value.holder),)).ok else None


def orphans(app: Reliq, *, most: int = 5) -> Iterator[str]:
    """Complaints about locks that nobody will free before they lapse; for `reliq doctor`."""
    try:
        looked_at = list(islice(locks(app.broker, LOCK), _LOOK_AT))
    except BrokerError as error:
        yield f"the locks cannot be read: {error}"
        return
    found = [lock for lock in looked_at if _is_orphan(lock)]
    for lock in found[:most]:
        whose = f"message {lock.holder} ({lock.state or 'no record'})" if lock.holder else "nobody"
        yield f"a lock of {lock.task or 'an unknown task'} is left by {whose}: reliq once release {lock.key}"
    if len(found) > most:
        yield f"... and {len(found) - most:,} more: reliq once list --orphans"
    if len(looked_at) == _LOOK_AT:
        yield f"only the first {_LOOK_AT:,} locks were looked at; reliq once list --orphans looks at all"


def lapses(app: Reliq, tally: Tally) -> Iterator[str]:
    """Whether timeouts are too short for how long messages wait; for `reliq doctor`."""
    try:
        days = tally.read(app.broker)
    except BrokerError:
        return  # told already
    lapsed = sum(counted.get("lapses", 0) for counted in days.values())
    if lapsed:
        yield (
            f"{lapsed:,} of the locks of the last days lapsed before their messages ran, so a second copy could be "
            "queued: give a timeout that is longer than messages wait (reliq once counters)"
        )


def _is_orphan(lock: Lock) -> bool:
    return not lock.live and not lock.meant
