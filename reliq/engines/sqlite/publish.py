"""Publishing: each item is refused, a duplicate, or accepted with all that belongs to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import groupby
from typing import cast

from reliq.engines.sqlite.connection import BeginAgain, Step
from reliq.engines.sqlite.effects import first_refused, take
from reliq.engines.sqlite.endings import Endings
from reliq.engines.sqlite.insert import MANY, insert, insert_alike, lapsed_tombstone, likeness
from reliq.engines.sqlite.rows import find
from reliq.ports.values import Found, Publication, Published
from reliq.wire.codec import HARD_MAX_MESSAGE, encode, encode_many
from reliq.wire.message import Envelope

# Text that is no UTF-8, a number over 64 bits, a value of another type than the column's.
_UNFIT = (
    ValueError,
    TypeError,
    OverflowError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    sqlite3.IntegrityError,
    sqlite3.DataError,
)
_KNOWN = "SELECT 1 FROM message WHERE id = ?"


def encoded(publications: Sequence[Publication]) -> Sequence[bytes | str]:
    """The payload of each, or why there is none; done before the file is locked."""
    try:
        return encode_many([publication.envelope for publication in publications])
    except (ValueError, TypeError):
        return [_encoded(publication.envelope) for publication in publications]


def publish(
    step: Step, publications: Sequence[Publication], payloads: Sequence[bytes | str]
) -> list[Published]:
    """One answer for each, in order."""
    one = _isolated if step.again > 1 else _one
    try:
        if len(publications) >= MANY and not step.again:
            plain = [p.envelope for p in publications if not (p.guards or p.effects)]
            if len(plain) == len(publications) and str not in set(map(type, payloads)):
                return _many(step, plain, cast("Sequence[bytes]", payloads))
        return [one(step, *item) for item in zip(publications, payloads, strict=True)]
    except _UNFIT:
        raise BeginAgain from None


def _isolated(step: Step, publication: Publication, payload: bytes | str) -> Published:
    """As `_one`, where some item of the call cannot be written: that is refused, and the others are not."""
    try:
        with step.isolated():
            return _one(step, publication, payload)
    except _UNFIT as error:
        why = payload if isinstance(payload, str) else f"SQLite cannot take it: {error}"
        return Published(publication.envelope.id, "refused", error=why)


def _encoded(envelope: Envelope) -> bytes | str:
    try:
        return encode(envelope, limit=HARD_MAX_MESSAGE)
    except (ValueError, TypeError) as error:
        return str(error)


def _many(step: Step, envelopes: Sequence[Envelope], payloads: Sequence[bytes]) -> list[Published]:
    """Several rows per statement, in the hope that all are new."""
    start = 0
    for _, alike in groupby(map(likeness, envelopes)):
        end = start + len(list(alike))
        if not insert_alike(step, envelopes[start:end], payloads[start:end]):
            raise BeginAgain
        start = end
    return [Published(envelope.id, "accepted") for envelope in envelopes]


def _one(step: Step, publication: Publication, payload: bytes | str) -> Published:
    envelope, guards, effects = publication.envelope, publication.guards, publication.effects
    if (guards or isinstance(payload, str)) and _known(step, envelope.id):
        return Published(envelope.id, "duplicate")
    if isinstance(payload, str):
        return Published(envelope.id, "refused", error=payload)
    while guards and (found := first_refused(step, guards)) is not None:
        if not _ends_expired_holder(step, found):
            return Published(envelope.id, "refused", found=found)

    due = insert(step, envelope, payload)
    if due is None:
        return Published(envelope.id, "duplicate")
    if guards or effects:
        endings = Endings(step)
        take(step, guards, due, endings)
        endings.apply(effects, due)
        endings.finish()
    return Published(envelope.id, "accepted")


def _ends_expired_holder(step: Step, found: Found) -> bool:
    """Whether what stood in the way was held by a message that had expired, and has ended now."""
    holder = find(step.execute, found.value.holder) if found.value and found.value.holder else None
    if holder is None or not holder.waiting or holder.expires is None or holder.expires > step.now:
        return False
    endings = Endings(step)
    endings.end(holder, "dropped", "expired")
    endings.finish()
    return True


def _known(step: Step, id: str) -> bool:
    return step.execute(_KNOWN, (id,)).fetchone() is not None and not lapsed_tombstone(step, id)
