"""Owners: live, then dead, then gone; what they hold is given back, or charged, when they die."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from reliq.engines.sqlite.connection import Step
from reliq.engines.sqlite.endings import Endings
from reliq.engines.sqlite.insert import SOON
from reliq.engines.sqlite.rows import LEASED, Row, find, select
from reliq.engines.sqlite.settle import settle_one
from reliq.errors import BrokerRefused
from reliq.ports.values import Moved, OwnerInfo, Receipt, Renewal, Settlement

MAX_WAIT = 60_000
_HELD = "WHERE m.state = 3 AND m.owner = ? ORDER BY m.claim, m.priority DESC, m.place, m.seq"
_STOP = """SELECT id FROM message INDEXED BY message_leased WHERE state = 3 AND owner = ? AND cancel"""
_RETURN = """UPDATE message SET state = ?, reason = ?, attempt = ?, history = ?, owner = NULL, claim = NULL,
  claimed = NULL, promoted = NULL WHERE seq = ?"""
_CHARGE = """UPDATE message SET state = 2, due = ?, reason = 'crashed', crashes = ?, history = ?,
  owner = NULL, claim = NULL, claimed = NULL, promoted = NULL WHERE seq = ?"""
_INFO = """SELECT name, state, since, expires, about,
  (SELECT count(*) FROM message INDEXED BY message_leased WHERE message.state = 3 AND owner = owner.id)
  FROM owner WHERE state < 2 ORDER BY since, id"""


def register(step: Step, name: str, lease: float, about: Mapping[str, str]) -> None:
    state = _state(step.execute, name)
    if state is not None and state[1] != 0:
        raise BrokerRefused(f"Owner {name} is dead; a new process registers under a new id", owner=name)
    step.execute(
        """INSERT INTO owner (name, state, since, expires, lease, about) VALUES (?, 0, ?, ?, ?, ?)
           ON CONFLICT (name) DO UPDATE SET expires = excluded.expires, lease = excluded.lease""",
        (name, step.now, step.now + _ms(lease), _ms(lease), msgspec.json.encode(dict(about)).decode()),
    )


def renew(step: Step, name: str, lease: float) -> Renewal:
    renewed = step.execute(
        "UPDATE owner SET expires = ?, lease = ? WHERE name = ? AND state = 0",
        (step.now + _ms(lease), _ms(lease), name),
    ).rowcount
    if not renewed:
        return Renewal(False)
    owner = _state(step.execute, name)
    assert owner is not None
    return Renewal(True, tuple(row[0] for row in step.execute(_STOP, (owner[0],)).fetchall()))


def held(execute: Any, name: str) -> list[Receipt]:
    owner = _state(execute, name)
    rows = select(execute, _HELD, (owner[0],)) if owner is not None else []
    return [Receipt(row.id, name, row.fence) for row in rows]


def info(execute: Any) -> list[OwnerInfo]:
    return [
        OwnerInfo(name, "dead" if state else "live", since, expires, count, msgspec.json.decode(about))
        for name, state, since, expires, about, count in execute(_INFO).fetchall()
    ]


def give_back(step: Step, receipts: Sequence[Receipt]) -> int:
    honoured = 0
    for receipt in receipts:
        row = find(step.execute, receipt.id)
        if row is None or (row.state, row.owner_name, row.fence) != (LEASED, receipt.owner, receipt.fence):
            continue
        if row.cancel:
            _drop_cancelled(step, row)
        else:
            _return(step, row, refund=True)
        honoured += 1
    return honoured


def bury(
    step: Step, name: str, started: Sequence[Receipt] | None, guilty: Sequence[Settlement] = ()
) -> tuple[bool, list[Moved]]:
    """One transaction, so an owner is never seen half buried: was it there, what it held and where that went."""
    owner = _state(step.execute, name)
    if owner is None or owner[1] == 2:
        return False, []
    first = select(step.execute, _HELD, (owner[0],))
    ran = None if started is None else set(started)
    for settlement in guilty:
        if settlement.receipt.owner == name:
            settle_one(step, settlement)
    for old in first:
        row = find(step.execute, old.id)
        if row is None or row.state != LEASED or row.owner != owner[0]:
            continue  # guilty, and settled
        if row.cancel:
            _drop_cancelled(step, row)
        elif ran is not None and Receipt(row.id, name, row.fence) not in ran:
            _return(step, row, refund=True, reason="process died")
        elif guilty:
            _return(step, row, refund=False, reason="process died")
        else:
            _charge(step, row)
    step.execute("UPDATE owner SET state = 2, alone = NULL, expires = ? WHERE id = ?", (step.now, owner[0]))
    now = [find(step.execute, row.id) for row in first]
    return True, [row.moved() for row in now if row is not None]


def _return(step: Step, row: Row, *, refund: bool, reason: str | None = None) -> None:
    """Ready again at its old place."""
    attempt = row.attempt - refund
    history = row.story().with_step(step.now, "given_back", reason, attempt=attempt)
    step.execute(_RETURN, (row.ready_state, reason, attempt, history, row.seq))
    step.wake(row.queue)


def _charge(step: Step, row: Row) -> None:
    """Only a crash while alone proves anything, so only that one quarantines."""
    crashes = row.crashes + 1
    if row.crashes and crashes >= row.max_crashes:
        step.execute("UPDATE message SET crashes = ? WHERE seq = ?", (crashes, row.seq))
        endings = Endings(step)
        endings.end(row, "failed", f"crashed {crashes} times")
        endings.finish()
        return
    due = step.now + min(MAX_WAIT, 1000 << min(crashes - 1, 16))
    history = row.story().with_step(step.now, "due", "crashed", attempt=row.attempt, due=due)
    step.execute(_CHARGE, (due, crashes, history, row.seq))
    if due <= step.now + SOON:
        step.wake(row.queue)


def _drop_cancelled(step: Step, row: Row) -> None:
    endings = Endings(step)
    endings.end(row, "dropped", "cancelled")
    endings.finish()


def _state(execute: Any, name: str) -> tuple[int, int] | None:
    found: tuple[int, int] | None = execute("SELECT id, state FROM owner WHERE name = ?", (name,)).fetchone()
    return found


def _ms(lease: float) -> int:
    return math.ceil(lease * 1000)
