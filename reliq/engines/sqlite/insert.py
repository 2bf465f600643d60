"""A message enters the table: ready, or due."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from reliq.engines.sqlite.connection import Step
from reliq.engines.sqlite.rows import DUE, READY
from reliq.wire.codec import encode_endings
from reliq.wire.message import Envelope

WINDOW = 60_000  # ms in which the same random id is a duplicate
CHOSEN_WINDOW = 86_400_000
SOON = 1000  # ms: an idle worker looks again at least this often, so a later due time needs no wake

SIZES = (100, 10)  # rows of one statement of a bulk publish
MANY = SIZES[-1]

# What the messages of a bulk publish mostly have in common is given once, as the first parameters.
_COLUMNS = """state, queue, priority, due, published, expires, max_crashes, keep, keep_failed, keep_result, dedupe,
  task, place, id, on_end, payload"""
_COMMON, _OWN = 12, 3


def _statement(rows: int) -> str:
    common = ", ".join(f"?{number + 1}" for number in range(_COMMON))
    place = _COMMON + 1
    values = []
    for row in range(rows):
        own = ", ".join(f"?{place + 1 + row * _OWN + number}" for number in range(_OWN))
        values.append(f"({common}, ?{place} + {row}, {own})")
    return f"INSERT INTO message ({_COLUMNS}) VALUES {', '.join(values)} ON CONFLICT (id) DO NOTHING"


_INSERT = _statement(1)
_INSERT_MANY = {size: _statement(size) for size in SIZES}
_FREE = "UPDATE message SET id = char(0) || seq, gone = NULL WHERE id = ? AND state = 7 AND gone <= ?"

#: All of an envelope that `_common` looks at: messages that agree in it are alike but for id, `on_end` and payload.
likeness = attrgetter(
    "queue", "task", "priority", "eta", "delay", "expires", "expires_in", "expires_after_due", "max_crashes",
    "keep", "keep_failed", "keep_result", "chosen",
)  # fmt: skip


def insert(step: Step, envelope: Envelope, payload: bytes) -> int | None:
    """Its due time; None: a message of this id was accepted before, within its window."""
    common = _common(envelope, step.now)
    values = (*common, step.places(), envelope.id, _endings(envelope), payload)
    added = step.execute(_INSERT, values).rowcount
    if not added and lapsed_tombstone(step, envelope.id):
        added = step.execute(_INSERT, values).rowcount
    if not added:
        return None
    due: int = common[3]
    if due <= step.now + SOON:
        step.wake(envelope.queue)
    return due


def insert_alike(step: Step, envelopes: Sequence[Envelope], payloads: Sequence[bytes]) -> bool:
    """Insert messages of one `likeness`; False: not all are new, and the transaction has to begin again."""
    count = len(envelopes)
    common = _common(envelopes[0], step.now)
    place = step.places(count)
    start = 0
    for size, statement in (*_INSERT_MANY.items(), (1, _INSERT)):
        while start + size <= count:
            end = start + size
            own: list[object] = [None] * (size * _OWN)
            own[0::_OWN] = [envelope.id for envelope in envelopes[start:end]]
            own[1::_OWN] = [_endings(envelope) for envelope in envelopes[start:end]]
            own[2::_OWN] = payloads[start:end]
            if step.execute(statement, (*common, place + start, *own)).rowcount != size:
                return False
            start = end
    if common[3] <= step.now + SOON:
        step.wake(envelopes[0].queue, count)
    return True


def _common(envelope: Envelope, now: int) -> tuple[Any, ...]:
    """The columns in which messages of one `likeness` agree."""
    e = envelope
    due = now if e.eta is None and e.delay is None else due_time(e, now)
    expires = None
    if e.expires is not None or e.expires_in is not None or e.expires_after_due is not None:
        expires = expiry(e, now, due)
    return (
        READY if due <= now else DUE,
        e.queue,
        e.priority,
        due,
        now,
        expires,
        e.max_crashes,
        e.keep,
        e.keep_failed,
        e.keep_result,
        CHOSEN_WINDOW if e.chosen else WINDOW,
        e.task,
    )


def _endings(envelope: Envelope) -> bytes | None:
    return encode_endings(envelope.on_end) if envelope.on_end else None


def lapsed_tombstone(step: Step, id: str) -> bool:
    """Free the id of what only kept it a duplicate, if its time is over; True: that was so."""
    return bool(step.execute(_FREE, (id, step.now)).rowcount)


def due_time(envelope: Envelope, now: int) -> int:
    if envelope.eta is not None:
        return max(now, envelope.eta)
    return now + max(0, envelope.delay or 0)


def expiry(envelope: Envelope, now: int, due: int) -> int | None:
    """The earliest of what the envelope says."""
    moments = []
    if envelope.expires is not None:
        moments.append(envelope.expires)
    if envelope.expires_in is not None:
        moments.append(now + envelope.expires_in)
    if envelope.expires_after_due is not None:
        moments.append(due + envelope.expires_after_due)
    return min(moments, default=None)
