"""A message enters the table: ready, or due."""

from __future__ import annotations

from typing import Any

from reliq.engines.sqlite.connection import Step
from reliq.engines.sqlite.rows import DUE, READY
from reliq.wire.codec import encode_endings
from reliq.wire.message import Envelope

WINDOW = 60_000  # ms in which the same random id is a duplicate
CHOSEN_WINDOW = 86_400_000
SOON = 1000  # ms: an idle worker looks again at least this often, so a later due time needs no wake

Values = tuple[Any, ...]
MANY = 20  # rows of one statement of a bulk publish; 320 parameters, old SQLite builds allow 999
_ROW = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT = """INSERT INTO message (state, queue, priority, place, due, published, expires, max_crashes, keep,
  keep_failed, keep_result, dedupe, id, task, on_end, payload) VALUES {rows} ON CONFLICT (id) DO NOTHING"""
INSERT = _INSERT.format(rows=_ROW)
INSERT_MANY = _INSERT.format(rows=", ".join([_ROW] * MANY))
_FREE = "UPDATE message SET id = char(0) || seq, gone = NULL WHERE id = ? AND state = 7 AND gone <= ?"


def values_of(envelope: Envelope, payload: bytes, now: int, place: int) -> Values:
    """The new row, in the order of `INSERT`."""
    e = envelope
    due = now if e.eta is None and e.delay is None else due_time(e, now)
    expires = None
    if e.expires is not None or e.expires_in is not None or e.expires_after_due is not None:
        expires = expiry(e, now, due)
    return (
        READY if due <= now else DUE,
        e.queue,
        e.priority,
        place,
        due,
        now,
        expires,
        e.max_crashes,
        e.keep,
        e.keep_failed,
        e.keep_result,
        CHOSEN_WINDOW if e.chosen else WINDOW,
        e.id,
        e.task,
        encode_endings(e.on_end) if e.on_end else None,
        payload,
    )


def insert(step: Step, values: Values) -> bool:
    """False: a message of this id was accepted before, within its window."""
    added = step.execute(INSERT, values).rowcount
    if not added and lapsed_tombstone(step, values[12]):
        added = step.execute(INSERT, values).rowcount
    if added:
        note(step, values)
    return bool(added)


def note(step: Step, values: Values) -> None:
    """Who should wake, for a row that was added."""
    if values[4] <= step.now + SOON:
        step.wake(values[1])


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
