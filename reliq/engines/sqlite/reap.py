"""House-keeping: what time alone brings about.  Each part is a transaction of its own; where nothing is due, none."""

from __future__ import annotations

from typing import Any, NamedTuple

from reliq.engines.sqlite import claim, owners, store
from reliq.engines.sqlite.connection import Connection, Step
from reliq.engines.sqlite.rows import find
from reliq.ports.values import Ended, Moved

_OVER = "SELECT name FROM owner WHERE state < 2 AND (state = 1 OR expires < ?) ORDER BY state DESC, expires LIMIT ?"
# Only a clock that was set back leaves a lease with more time than it lasts; the dead would keep theirs for that long.
_TOO_LONG = "state = 0 AND expires > ?1 + lease"
_ANY_TOO_LONG = f"SELECT EXISTS (SELECT 1 FROM owner WHERE {_TOO_LONG})"
_SHORTEN = f"UPDATE owner SET expires = ?1 + lease WHERE {_TOO_LONG}"
_STILL_OVER = "SELECT 1 FROM owner WHERE name = ? AND (state = 1 OR expires < ?)"
# A walk from queue to queue along the index: the cost is the number of queues, not of messages.
_DUE_QUEUES = """WITH RECURSIVE q (name) AS (
    SELECT (SELECT min(queue) FROM message INDEXED BY message_due WHERE state = 2)
    UNION ALL
    SELECT (SELECT min(queue) FROM message INDEXED BY message_due WHERE state = 2 AND queue > q.name) FROM q
    WHERE q.name IS NOT NULL)
  SELECT name FROM q WHERE name IS NOT NULL
    AND (SELECT min(due) FROM message INDEXED BY message_due WHERE state = 2 AND queue = q.name) <= ?"""
_LOOK = """SELECT
  EXISTS (SELECT 1 FROM message INDEXED BY message_expires WHERE expires IS NOT NULL AND expires <= ?1 AND state <= 2),
  EXISTS (SELECT 1 FROM message INDEXED BY message_gone WHERE state >= 4 AND gone <= ?1)
    OR EXISTS (SELECT 1 FROM message INDEXED BY message_gone WHERE state >= 4 AND gone IS NULL
      AND seq < (SELECT max(seq) FROM message)),
  EXISTS (SELECT 1 FROM store INDEXED BY store_expires WHERE expires <= ?1),
  EXISTS (SELECT 1 FROM waiter WHERE until < ?1 - 60000),
  EXISTS (SELECT 1 FROM owner WHERE state = 2 AND expires < ?1 - 60000)"""
_BURY = """UPDATE message SET state = 7, gone = published + dedupe, payload = x'', value = NULL, error = NULL,
  on_end = NULL, history = NULL, reason = NULL WHERE seq IN (SELECT seq FROM message INDEXED BY message_gone
  WHERE state >= 4 AND gone <= ?1 AND state < 7 AND published + dedupe > ?1 ORDER BY gone LIMIT ?2)"""
_PURGE = """DELETE FROM message WHERE seq IN (SELECT seq FROM message INDEXED BY message_gone
  WHERE state >= 4 AND gone <= ? AND state < 7 ORDER BY gone LIMIT ?)"""
_TOMBSTONES = """DELETE FROM message WHERE seq IN (SELECT seq FROM message INDEXED BY message_gone
  WHERE state >= 4 AND gone {lapsed} AND state = 7 AND seq < (SELECT max(seq) FROM message) LIMIT ?)"""
# The last row tells how many were accepted, so it stays, as nothing but a number.
_LAST = """UPDATE message SET state = 7, gone = NULL, id = char(0) || seq, payload = x'', value = NULL, error = NULL,
  on_end = NULL, history = NULL, reason = NULL
  WHERE seq = (SELECT max(seq) FROM message) AND state {states} AND gone <= ?"""
# A record names its owner; an owner that was gone before the oldest record was published is named by none.
_OWNERS = """DELETE FROM owner WHERE state = 2 AND expires < ?1 - 60000
  AND expires < coalesce((SELECT published FROM message ORDER BY seq LIMIT 1), ?1)"""


class _Look(NamedTuple):
    expired: int
    gone: int
    lapsed: int
    waiters: int
    owners: int


class Reaping:
    """One call of `reap`: a budget that its parts share."""

    def __init__(self, link: Connection, now: int, limit: int) -> None:
        self._link = link
        self._now = now
        self._left = limit
        self._moved: list[Moved] = []
        self._buried: list[str] = []

    def run(self, grace: float) -> Ended:
        self._bury(self._now - grace * 1000)
        seen = self._link.read(self._look)
        if seen.expired and self._left > 0:
            self._expire()
            seen = self._link.read(self._look)  # what expired may have a life of 0
        self._promote()
        purged = 0
        if seen.gone and self._left > 0:
            purged, touched = self._link.write(purge, self._left)
            self._left -= touched
        if (seen.lapsed or seen.waiters or seen.owners) and self._left > 0:
            self._left -= self._link.write(_collect, self._left)
        return Ended(tuple(self._moved), tuple(self._buried), purged, more=self._left <= 0)

    def _look(self, execute: Any) -> _Look:
        return _Look._make(execute(_LOOK, (self._now,)).fetchone())

    def _bury(self, latest: float) -> None:
        def names(execute: Any) -> list[str]:
            return [row[0] for row in execute(_OVER, (latest, max(0, self._left))).fetchall()]

        def one(step: Step, name: str) -> tuple[bool, list[Moved]]:
            if step.execute(_STILL_OVER, (name, latest)).fetchone() is None:
                return False, []  # renewed meanwhile
            return owners.bury(step, name, None)

        if self._link.read(lambda execute: execute(_ANY_TOO_LONG, (self._now,)).fetchone()[0]):
            self._link.write(lambda step: step.execute(_SHORTEN, (step.now,)))
        for name in self._link.read(names):
            if self._left <= 0:
                break
            buried, moved = self._link.write(one, name)
            if buried:
                self._moved += moved
                self._buried.append(name)
                self._left -= max(1, len(moved))

    def _expire(self) -> None:
        def drop(step: Step) -> list[Moved]:
            rows = [find(step.execute, id) for id in claim.drop_expired(step, self._left)]
            return [row.moved() for row in rows if row is not None]

        moved = self._link.write(drop)
        self._moved += moved
        self._left -= len(moved)

    def _promote(self) -> None:
        def names(execute: Any) -> list[str]:
            return [row[0] for row in execute(_DUE_QUEUES, (self._now,)).fetchall()]

        for queue in self._link.read(names):
            if self._left > 0:
                self._left -= self._link.write(claim.promote, queue, self._left)


def purge(step: Step, limit: int) -> tuple[int, int]:
    """Remove ended records past their life; an id still in its window leaves a tombstone, which goes later.

    How many records went, and how many rows were touched.
    """
    buried: int = step.execute(_BURY, (step.now, limit)).rowcount
    last: int = step.execute(_LAST.format(states="IN (4, 5, 6)"), (step.now,)).rowcount
    deleted: int = step.execute(_PURGE, (step.now, max(0, limit - buried - last))).rowcount
    step.execute(_LAST.format(states="= 7"), (step.now,))
    lapsed: int = step.execute(_TOMBSTONES.format(lapsed="<= ?"), (step.now, limit)).rowcount
    free: int = step.execute(_TOMBSTONES.format(lapsed="IS NULL"), (limit,)).rowcount
    purged = buried + last + deleted
    step.purged += purged
    return purged, purged + lapsed + free


def _collect(step: Step, limit: int) -> int:
    step.execute("DELETE FROM waiter WHERE until < ? - 60000", (step.now,))
    step.execute(_OWNERS, (step.now,))
    return store.collect(step.execute, step.now, limit)
