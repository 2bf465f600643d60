"""What operators ask and do: these may look at every message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reliq.engines.sqlite.connection import Step
from reliq.engines.sqlite.effects import first_refused, take
from reliq.engines.sqlite.endings import Endings
from reliq.engines.sqlite.rows import COLUMNS, FROM, Row, find, select
from reliq.errors import WireError
from reliq.ports.refusals import refused_replay
from reliq.ports.values import Audit, Cancelled, Depth, Record, State
from reliq.wire.codec import decode
from reliq.wire.message import Guard

_STATES = {"ready": (0, 1), "due": (2,), "leased": (3,), "done": (4,), "failed": (5,), "dropped": (6,)}
_QUEUES = """WITH RECURSIVE q (name) AS (
    SELECT (SELECT min(queue) FROM message INDEXED BY {index} WHERE state = {state})
    UNION ALL
    SELECT (SELECT min(queue) FROM message INDEXED BY {index} WHERE state = {state} AND queue > q.name) FROM q
    WHERE q.name IS NOT NULL)
  SELECT name FROM q WHERE name IS NOT NULL"""
_WAITING = (("message_ready", 0), ("message_charged", 1), ("message_due", 2))
_LIVE_QUEUES = (
    " UNION ".join(f"SELECT * FROM ({_QUEUES.format(index=index, state=state)})" for index, state in _WAITING)
    + " UNION SELECT queue FROM message INDEXED BY message_leased WHERE state = 3 ORDER BY 1"
)
_PURGED = """WHERE m.seq IN (SELECT seq FROM message INDEXED BY {index} WHERE state = {state} AND queue = ?
  AND seq <= ? LIMIT ?)"""
_DEPTH = """SELECT
  (SELECT count(*) FROM message INDEXED BY message_ready WHERE state = 0 AND queue = ?1)
    + (SELECT count(*) FROM message INDEXED BY message_charged WHERE state = 1 AND queue = ?1),
  (SELECT count(*) FROM message INDEXED BY message_due WHERE state = 2 AND queue = ?1),
  (SELECT count(*) FROM message INDEXED BY message_leased WHERE state = 3 AND queue = ?1),
  (SELECT min(due) FROM message WHERE state = 0 AND queue = ?1),
  (SELECT min(due) FROM message WHERE state = 1 AND queue = ?1)"""
_REPLAY = """UPDATE message SET state = 0, queue = ?, due = ?, place = ?, reason = 'replayed', history = ?, attempt = 0,
  retries = 0, crashes = 0, snoozes = 0, life = life + 1, expires = NULL, ended = NULL, gone = NULL, value = NULL,
  error = NULL, erred = 0, cancel = 0, owner = NULL, claim = NULL, claimed = NULL, promoted = NULL WHERE seq = ?"""
_TOMBSTONE = """UPDATE message SET state = 7, gone = published + dedupe, payload = x'', value = NULL, error = NULL,
  on_end = NULL, history = NULL, reason = NULL WHERE id = ?"""


def cancel(step: Step, id: str, reason: str) -> Cancelled:
    row = find(step.execute, id)
    if row is None:
        return Cancelled("unknown")
    if row.waiting:
        endings = Endings(step)
        endings.end(row, "dropped", reason)
        endings.finish()
        return Cancelled("cancelled", "dropped")
    if row.live:
        step.execute("UPDATE message SET cancel = 1 WHERE seq = ?", (row.seq,))
        return Cancelled("requested", "leased")
    return Cancelled("ended", row.moved().state)


def forget(step: Step, id: str) -> bool:
    row = find(step.execute, id)
    if row is None or row.live:
        return False
    history = row.story().without_errors()
    step.execute(
        "UPDATE message SET value = NULL, error = NULL, history = ? WHERE seq = ?", (history, row.seq)
    )
    return True


def replay(step: Step, id: str, queue: str | None) -> bool:
    row = find(step.execute, id)
    if row is None or row.state != 5:
        return False
    guards = _guards(step, id)
    if guards and (found := first_refused(step, guards)) is not None:
        raise refused_replay(id, found)
    queue = queue or row.queue
    history = row.story().with_step(step.now, "ready", "replayed", attempt=0, by=None)
    step.execute(_REPLAY, (queue, step.now, step.places(), history, row.seq))
    step.failed -= 1
    step.wake(queue)
    if guards:
        endings = Endings(step)
        take(step, guards, step.now, endings)
        endings.finish()
    return True


def _guards(step: Step, id: str) -> tuple[Guard, ...]:
    """What must hold before a new life; nothing for what nobody can decode: that cannot run either."""
    (payload,) = step.execute("SELECT payload FROM message WHERE id = ?", (id,)).fetchone()
    try:
        return decode(payload, limit=len(payload)).on_replay
    except WireError:
        return ()


def remove(step: Step, id: str) -> bool:
    row = find(step.execute, id)
    if row is None or row.live:
        return False
    step.execute(_TOMBSTONE, (id,))
    step.purged += 1
    return True


def last(execute: Any) -> int:
    """The number of the message that was accepted last."""
    return execute("SELECT coalesce(max(seq), 0) FROM message").fetchone()[0]  # type: ignore[no-any-return]


def purge_some(step: Step, queue: str, upto: int, limit: int) -> tuple[int, bool]:
    """Drop up to `limit` waiting messages of a queue, accepted before `upto`: how many, and whether that was all."""
    found: list[Row] = []
    for index, state in _WAITING:
        if len(found) < limit:
            found += select(
                step.execute, _PURGED.format(index=index, state=state), (queue, upto, limit - len(found))
            )
    endings = Endings(step)
    purged = 0
    for old in sorted(found):  # in the order of acceptance
        row = find(step.execute, old.id)  # an earlier one's `on_end` may have cancelled it
        if row is not None and row.waiting:
            endings.end(row, "dropped", "purged")
            endings.finish()
            purged += 1
    return purged, len(found) < limit


def queues(execute: Any) -> list[str]:
    return [row[0] for row in execute(_LIVE_QUEUES).fetchall()]


def depth(execute: Any, queue: str) -> Depth:
    ready, due, leased, *oldest = execute(_DEPTH, (queue,)).fetchone()
    return Depth(queue, ready, due, leased, min((at for at in oldest if at is not None), default=None))


def listed(
    execute: Any,
    states: Sequence[State],
    queue: str | None,
    task: str | None,
    reason: str | None,
    limit: int,
    after: str | None,
) -> list[Record]:
    tests: list[str] = ["m.state < 7"]
    values: list[Any] = []
    if states:
        codes = [code for state in states for code in _STATES[state]]
        tests.append(f"m.state IN ({', '.join(map(str, codes))})")
    for column, value in (("queue", queue), ("task", task)):
        if value is not None:
            tests.append(f"m.{column} = ?")
            values.append(value)
    if reason is not None:
        tests.append("substr(coalesce(m.reason, ''), 1, length(?)) = ?")
        values += [reason, reason]
    if after is not None:
        tests.append("m.seq > (SELECT seq FROM message WHERE id = ?)")
        values.append(after)
    sql = f"SELECT {COLUMNS}, m.payload {FROM} WHERE {' AND '.join(tests)} ORDER BY m.seq LIMIT ?"
    found = execute(sql, (*values, limit)).fetchall()
    return [Row._make(row[:-1]).record(row[-1], transitions=False) for row in found]


_BREACHES = (
    (
        "is leased if and only if an owner holds it",
        """SELECT m.id FROM message m LEFT JOIN owner o ON o.id = m.owner
           WHERE m.state = 3 AND (o.id IS NULL OR o.state = 2 OR m.claimed IS NULL OR m.claim IS NULL)""",
    ),
    (
        "has an end if and only if it ended",
        "SELECT id FROM message WHERE state < 7 AND (ended IS NULL) = (state >= 4)",
    ),
    (
        "is kept for a time once it ended",
        "SELECT id FROM message WHERE state < 7 AND (gone IS NULL) = (state >= 4)",
    ),
    (
        "is charged if and only if it waits to be alone",
        "SELECT id FROM message WHERE (state = 0 AND crashes > 0) OR (state = 1 AND crashes = 0)",
    ),
    ("was settled under a fence it once had", "SELECT id FROM message WHERE settled > fence"),
    (
        "is done only by a settlement of the lease it had",
        "SELECT id FROM message WHERE state = 4 AND (settled = 0 OR settled <> fence)",
    ),
    ("has a known state", "SELECT id FROM message WHERE state NOT BETWEEN 0 AND 7"),
)


def audit(execute: Any) -> Audit:
    done, failed, dropped, purged = execute("SELECT done, failed, dropped, purged FROM book").fetchone()
    accepted = execute("SELECT coalesce(max(seq), 0) FROM message").fetchone()[0]
    rows = dict(execute("SELECT state, count(*) FROM message GROUP BY state").fetchall())
    states = {
        "ready": rows.get(0, 0) + rows.get(1, 0),
        "due": rows.get(2, 0),
        "leased": rows.get(3, 0),
        "done": done,
        "failed": failed,
        "dropped": dropped,
    }
    broken = [(row[0], rule) for rule, sql in _BREACHES for row in execute(f"{sql} LIMIT 1000").fetchall()]
    present = sum(count for state, count in rows.items() if state < 7)
    if present + purged != accepted:
        broken.append(("*", f"{accepted} accepted, but {present} records and {purged} purged ones"))
    return Audit(accepted, states, tuple(broken))
