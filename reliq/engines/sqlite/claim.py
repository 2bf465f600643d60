"""Claiming: promote what is due, drop what has expired, lease what is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from reliq.engines.sqlite.connection import Step
from reliq.engines.sqlite.endings import Endings
from reliq.engines.sqlite.rows import find, select
from reliq.ports.values import Delivery, Receipt

# One row answers everything a claim must know first; each part is one probe of a partial index per queue.
_LOOK = """SELECT o.id, o.state, o.claim, o.alone,
  (SELECT json_group_array(q.value) FROM json_each(?1) q
    WHERE EXISTS (SELECT 1 FROM message INDEXED BY message_ready WHERE state = 0 AND queue = q.value)),
  EXISTS (SELECT 1 FROM message INDEXED BY message_charged WHERE state = 1
    AND queue IN (SELECT value FROM json_each(?1))),
  (SELECT min((SELECT min(due) FROM message INDEXED BY message_due WHERE state = 2 AND queue = q.value))
    FROM json_each(?1) q),
  (SELECT min(expires) FROM message INDEXED BY message_expires WHERE expires IS NOT NULL AND state <= 2),
  EXISTS (SELECT 1 FROM waiter)
  FROM owner o WHERE o.name = ?2"""
_PROMOTE = """UPDATE message SET state = CASE WHEN crashes THEN 1 ELSE 0 END, promoted = ?1, reason = NULL,
  place = ?2 + d.number FROM
  (SELECT seq AS due_seq, row_number() OVER (ORDER BY due, seq) AS number FROM
    (SELECT seq, due FROM message INDEXED BY message_due WHERE state = 2 AND queue = ?3 AND due <= ?1
     ORDER BY due, seq LIMIT ?4)) AS d
  WHERE seq = d.due_seq"""
_PAST = """FROM message INDEXED BY message_expires
  WHERE expires IS NOT NULL AND expires <= ?1 AND state <= 2 ORDER BY expires LIMIT ?2"""
_EXPIRED = f"WHERE m.seq IN (SELECT seq {_PAST}) ORDER BY m.expires, m.seq"
_ANY_ENDING = f"SELECT EXISTS (SELECT 1 FROM (SELECT on_end {_PAST}) WHERE on_end IS NOT NULL)"
_DROP_PLAIN = f"""UPDATE message SET state = 6, reason = 'expired', value = NULL, erred = 0, ended = ?1,
  gone = ?1 + keep, claim = NULL WHERE seq IN (SELECT seq {_PAST}) RETURNING id"""
_LEASE = """UPDATE message SET state = 3, owner = ?, claim = ?, claimed = ?, fence = max(fence + 1, ?),
  attempt = attempt + 1, reason = NULL
  WHERE seq IN (SELECT seq FROM (SELECT seq, expires FROM message INDEXED BY {index} WHERE state = {state} AND queue = ?
    ORDER BY priority DESC, place LIMIT ?) WHERE expires IS NULL OR expires > ? LIMIT ?)"""
_LEASE_READY = _LEASE.format(index="message_ready", state=0)
_LEASE_CHARGED = _LEASE.format(index="message_charged", state=1)
_HOLDS = "SELECT 1 FROM message INDEXED BY message_leased WHERE state = 3 AND owner = ? LIMIT 1"
_HOLDS_ALONE = "SELECT 1 FROM message WHERE seq = ? AND state = 3 AND owner = ?"
_ALONE = "SELECT seq FROM message INDEXED BY message_leased WHERE state = 3 AND owner = ? AND claim = ?"
_LEFT = "SELECT EXISTS (SELECT 1 FROM message INDEXED BY message_ready WHERE state = 0 AND queue = ?)"

# A batch is read as one row: between two rows the sqlite3 module lets another thread take the interpreter, which can
# cost 5 ms each time.
_BATCH = """SELECT json_group_array(json_array(id, fence, attempt, retries, crashes, snoozes, published, due,
  length(payload))), CAST(group_concat(payload, '') AS BLOB) FROM """
_LEASED = "message INDEXED BY message_leased WHERE state = 3 AND owner = ?1 AND claim = ?2"
# An aggregate takes rows as the scan gives them: of one queue that is the index, whose order is that of the queue.
_BATCH_ONE = _BATCH + _LEASED
_BATCH_MANY = f"""{_BATCH}(SELECT * FROM {_LEASED}
  ORDER BY (SELECT key FROM json_each(?3) WHERE value = queue), priority DESC, place, seq)"""
_BOUND = 1000  # messages that one claim promotes, or finds expired, or passes over as such, at most

_Line = tuple[str, int, int, int, int, int, int, int, int]
_lines = msgspec.json.Decoder(list[_Line])
_names = msgspec.json.Decoder(list[str])
_json = msgspec.json.Encoder()


class Look(NamedTuple):
    """What a claim sees before it does anything."""

    owner: int
    owner_state: int
    seq: int
    alone: int | None
    ready: str
    charged: int
    next_due: int | None
    next_expiry: int | None
    waiters: int

    @property
    def live(self) -> bool:
        return self.owner_state == 0

    def idle(self, now: int) -> bool:
        """There is nothing a claim could do."""
        return (
            self.ready == "[]"
            and not self.charged
            and (self.next_due is None or self.next_due > now)
            and (self.next_expiry is None or self.next_expiry > now)
        )


class Taken(NamedTuple):
    """What a claim took: `batch` is read by `read_batch`, after the commit."""

    live: bool = True
    batch: tuple[int, int] | None = None  # the owner and its seq
    queues: str = ""
    many: bool = False
    next_due: int | None = None
    wants_alone: bool = False
    answered: bool = False  # nothing more will come to this claim
    deaf: bool = False  # it may be given nothing now, so a wake would be lost on it

    @property
    def idle(self) -> bool:
        """Waiting may bring something."""
        return self.live and self.batch is None and not self.wants_alone and not self.answered


def look(execute: Any, owner: str, queues: str) -> Look | None:
    """None: no owner of that name was registered.  `queues` is a JSON list."""
    found = execute(_LOOK, (queues, owner)).fetchone()
    return None if found is None else Look._make(found)


def take(step: Step, owner: str, queues: str, limit: int, seq: int) -> Taken:
    """Lease up to `limit` messages to a live owner."""
    seen = look(step.execute, owner, queues)
    if seen is None or not seen.live:
        return Taken(live=False)
    if limit <= 0 or seq < seen.seq:
        return Taken(answered=True)
    if seq == seen.seq:
        return Taken(batch=(seen.owner, seq), queues=queues, many=True)
    if _make_ready(step, seen, queues):
        seen = look(step.execute, owner, queues) or seen

    others = seen.charged or seen.alone is not None
    holds = bool(others) and step.execute(_HOLDS, (seen.owner,)).fetchone() is not None
    wants_alone = bool(holds and seen.charged)
    if holds and seen.alone is not None and step.execute(_HOLDS_ALONE, (seen.alone, seen.owner)).fetchone():
        return Taken(next_due=seen.next_due, wants_alone=wants_alone, deaf=True)
    if seen.charged and not holds and _lease_charged(step, seen, queues, seq):
        return Taken(batch=(seen.owner, seq), queues=queues)
    ready = _names.decode(seen.ready)
    served = _lease(step, seen, ready, limit, seq) if ready else 0
    if not served:
        # What is ready may stand behind more expired messages than one claim drops: then it is to be asked again.
        buried = seen.next_expiry is not None and seen.next_expiry <= step.now
        return Taken(next_due=seen.next_due, wants_alone=wants_alone, answered=buried)
    step.execute("UPDATE owner SET claim = ?, alone = NULL WHERE id = ?", (seq, seen.owner))
    return Taken(batch=(seen.owner, seq), queues=queues, many=served > 1, wants_alone=wants_alone)


def read_batch(execute: Any, owner: str, taken: Taken) -> tuple[Delivery, ...]:
    """The deliveries of a batch, those of it that are still leased."""
    if taken.batch is None:
        return ()
    if taken.many:
        told, payloads = execute(_BATCH_MANY, (*taken.batch, taken.queues)).fetchone()
    else:
        told, payloads = execute(_BATCH_ONE, taken.batch).fetchone()
    deliveries = []
    start = 0
    for id, fence, attempt, retries, crashes, snoozes, published, due, length in _lines.decode(told):
        end = start + length
        deliveries.append(
            Delivery(
                Receipt(id, owner, fence),
                payloads[start:end],
                attempt,
                retries,
                crashes,
                snoozes,
                published,
                due,
                crashes > 0,
            )
        )
        start = end
    return tuple(deliveries)


def promote(step: Step, queue: str, limit: int) -> int:
    """Make the messages of a queue ready whose time has come; how many."""
    count: int = step.execute(_PROMOTE, (step.now, step.place, queue, limit)).rowcount
    if count:
        step.places(count)
        step.wake(queue, count)
    return count


def drop_expired(step: Step, limit: int) -> list[str]:
    """End the waiting messages that were to begin before now; their ids."""
    if not step.execute(_ANY_ENDING, (step.now, limit)).fetchone()[0]:
        plain = [id for (id,) in step.execute(_DROP_PLAIN, (step.now, limit)).fetchall()]
        step.dropped += len(plain)
        step.ended += plain
        return plain
    dropped = []
    endings = Endings(step)
    for old in select(step.execute, _EXPIRED, (step.now, limit)):
        row = find(step.execute, old.id)  # an earlier one's `on_end` may have ended it
        if row is not None and row.waiting:
            endings.end(row, "dropped", "expired")
            endings.finish()
            dropped.append(row.id)
    return dropped


def _make_ready(step: Step, seen: Look, queues: str) -> bool:
    """Whether anything was moved that changes what there is to claim."""
    moved = False
    if seen.next_expiry is not None and seen.next_expiry <= step.now:
        moved = bool(drop_expired(step, _BOUND))
    if seen.next_due is not None and seen.next_due <= step.now:
        left = _BOUND  # of all queues, or a backlog of many would hold the file's lock for long
        for queue in _names.decode(queues.encode()):
            left -= promote(step, queue, left)
            if left <= 0:
                break
        moved = moved or left < _BOUND
    return moved


def _lease_charged(step: Step, seen: Look, queues: str, seq: int) -> bool:
    for queue in _names.decode(queues.encode()):
        values = (seen.owner, seq, step.now, step.fence, queue, _BOUND, step.now, 1)
        if step.execute(_LEASE_CHARGED, values).rowcount:
            leased = step.execute(_ALONE, (seen.owner, seq)).fetchone()[0]
            step.execute("UPDATE owner SET claim = ?, alone = ? WHERE id = ?", (seq, leased, seen.owner))
            return True
    return False


def _lease(step: Step, seen: Look, ready: Sequence[str], limit: int, seq: int) -> int:
    """How many queues gave something."""
    served = 0
    for queue in ready:
        values = (seen.owner, seq, step.now, step.fence, queue, _BOUND + limit, step.now, limit)
        count = step.execute(_LEASE_READY, values).rowcount
        served += count > 0
        limit -= count
        if queue in step.woken:  # what it promoted itself and takes now wakes nobody
            step.woken[queue] = max(0, step.woken[queue] - count)
        if limit <= 0:
            # Whoever leaves work behind passes the wake on.
            if seen.waiters and step.execute(_LEFT, (queue,)).fetchone()[0]:
                step.wake(queue)
            break
    return served
