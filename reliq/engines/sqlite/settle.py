"""Settling: one verdict, its effects, its follow-ups and the envelope's `on_end`, in one step.

Nearly all settlements are a `done` without effects on a message without `on_end`; those that share a fence (the batch
of one claim does) and a value are one statement.  When it does not touch as many rows as it names, somebody is stale,
repeated or has an `on_end`: then the transaction begins again and each is looked at by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from reliq.engines.sqlite.connection import BeginAgain, Step
from reliq.engines.sqlite.endings import Endings
from reliq.engines.sqlite.insert import SOON
from reliq.engines.sqlite.rows import LEASED, Row, find
from reliq.ports.values import Settled, Settlement

_PLAIN = """UPDATE message INDEXED BY message_id SET state = 4, settled = fence, ended = ?, gone = ? + keep,
  reason = NULL, error = NULL, claim = NULL, value = CASE WHEN keep_result THEN ? END
  WHERE id IN (SELECT value FROM json_each(?)) AND state = 3 AND fence = ? AND on_end IS NULL
  AND owner = (SELECT id FROM owner WHERE name = ? AND state = 0)"""
_POSTPONE = """UPDATE message SET state = 2, due = ?, reason = ?, error = coalesce(?, error),
  settled = fence, attempt = ?, retries = ?, snoozes = ?, history = ?, owner = NULL, claim = NULL, claimed = NULL,
  promoted = NULL WHERE seq = ?"""
_json = msgspec.json.Encoder()
_Batches = dict[tuple[str, int, bytes | None], list[str]]


def settle(step: Step, settlements: Sequence[Settlement]) -> list[Settled]:
    """One answer for each, in order."""
    batches = None if step.again else _plain(settlements)
    if batches is None:
        return [settle_one(step, settlement) for settlement in settlements]
    for (owner, fence, value), ids in batches.items():
        touched = step.execute(
            _PLAIN, (step.now, step.now, value, _json.encode(ids).decode(), fence, owner)
        ).rowcount
        if touched != len(ids):
            raise BeginAgain
        step.done += touched
        step.ended += ids
    return [Settled(settlement.receipt.id, "applied") for settlement in settlements]


def settle_one(step: Step, settlement: Settlement) -> Settled:
    """Applied, repeated or stale.  A leased message's owner is live: one that is buried holds nothing any more."""
    receipt = settlement.receipt
    row = find(step.execute, receipt.id)
    if row is None:
        return Settled(receipt.id, "stale")
    if row.state == LEASED and row.fence == receipt.fence and row.owner_name == receipt.owner:
        return Settled(receipt.id, "applied", _apply(step, row, settlement))
    if receipt.fence and row.settled == receipt.fence:
        return Settled(receipt.id, "repeated")
    return Settled(receipt.id, "stale")


def _plain(settlements: Sequence[Settlement]) -> _Batches | None:
    """Those of the common kind, by what they share; None when there is any other."""
    batches: _Batches = {}
    for settlement in settlements:
        if settlement.kind != "done" or settlement.effects or settlement.follow_ups:
            return None
        if settlement.reason is not None or settlement.error is not None:
            return None
        receipt = settlement.receipt
        key = (receipt.owner, receipt.fence, settlement.value)
        if key in batches:
            batches[key].append(receipt.id)
        else:
            batches[key] = [receipt.id]
    return batches


def _apply(step: Step, row: Row, settlement: Settlement) -> int:
    endings = Endings(step)
    kind, due = settlement.kind, row.due
    if kind == "retry" or kind == "snooze":
        due = _put_off(step, row, settlement, endings)
    else:
        value = settlement.value if kind == "done" else None
        endings.end(row, kind, settlement.reason, value=value, error=settlement.error, settled=row.fence)
    skipped = endings.apply(settlement.effects, due)
    endings.follow(settlement.follow_ups, row.id, settlement.value)
    endings.finish()
    return skipped


def _put_off(step: Step, row: Row, settlement: Settlement, endings: Endings) -> int:
    """The new due time."""
    now, reason, error = step.now, settlement.reason, settlement.error
    if row.cancel or (row.expires is not None and now >= row.expires):
        endings.end(row, "dropped", "cancelled" if row.cancel else "expired", error=error, settled=row.fence)
        return row.due
    due = max(now, now + (settlement.after or 0) if settlement.at is None else settlement.at)
    retry = settlement.kind == "retry"
    attempt = row.attempt if retry else row.attempt - 1
    history = row.story().with_step(now, "due", reason, attempt=attempt, due=due, error=error)
    step.execute(
        _POSTPONE,
        (due, reason, error, attempt, row.retries + retry, row.snoozes + (not retry), history, row.seq),
    )
    if due <= now + SOON:
        step.wake(row.queue)
    return due
