"""Publishing: each item is refused, a duplicate, or accepted with all that belongs to it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from reliq.engines.sqlite.connection import BeginAgain, Step
from reliq.engines.sqlite.effects import first_refused, take
from reliq.engines.sqlite.endings import Endings
from reliq.engines.sqlite.insert import (
    INSERT,
    INSERT_MANY,
    MANY,
    Values,
    insert,
    lapsed_tombstone,
    note,
    values_of,
)
from reliq.ports.values import Publication, Published
from reliq.wire.codec import HARD_MAX_MESSAGE, encode

_KNOWN = "SELECT 1 FROM message WHERE id = ?"


def encoded(publications: Sequence[Publication]) -> list[bytes | str]:
    """The payload of each, or why there is none; done before the file is locked."""
    payloads: list[bytes | str] = []
    for publication in publications:
        try:
            payloads.append(encode(publication.envelope, limit=HARD_MAX_MESSAGE))
        except (ValueError, TypeError) as error:
            payloads.append(str(error))
    return payloads


def publish(
    step: Step, publications: Sequence[Publication], payloads: Sequence[bytes | str]
) -> list[Published]:
    """One answer for each, in order."""
    if len(publications) >= MANY and not step.again and all(map(_plain, publications, payloads)):
        return _many(step, publications, payloads)  # type: ignore[arg-type]
    return [
        _one(step, publication, payload) for publication, payload in zip(publications, payloads, strict=True)
    ]


def _plain(publication: Publication, payload: bytes | str) -> bool:
    return not (publication.guards or publication.effects or isinstance(payload, str))


def _many(step: Step, publications: Sequence[Publication], payloads: Sequence[bytes]) -> list[Published]:
    """Several rows per statement, in the hope that all are new."""
    place = step.places(len(publications))
    rows: list[Values] = [
        values_of(publication.envelope, payload, step.now, place + number)
        for number, (publication, payload) in enumerate(zip(publications, payloads, strict=True))
    ]
    whole = len(rows) - len(rows) % MANY
    for start in range(0, whole, MANY):
        values = tuple(chain.from_iterable(rows[start : start + MANY]))
        if step.execute(INSERT_MANY, values).rowcount != MANY:
            raise BeginAgain
    for row in rows[whole:]:
        if not step.execute(INSERT, row).rowcount:
            raise BeginAgain
    for row in rows:
        note(step, row)
    return [Published(publication.envelope.id, "accepted") for publication in publications]


def _one(step: Step, publication: Publication, payload: bytes | str) -> Published:
    envelope, guards, effects = publication.envelope, publication.guards, publication.effects
    if (guards or isinstance(payload, str)) and _known(step, envelope.id):
        return Published(envelope.id, "duplicate")
    if isinstance(payload, str):
        return Published(envelope.id, "refused", error=payload)
    if guards and (found := first_refused(step, guards)) is not None:
        return Published(envelope.id, "refused", found=found)

    values = values_of(envelope, payload, step.now, step.places())
    if not insert(step, values):
        return Published(envelope.id, "duplicate")
    if guards or effects:
        due = values[4]
        endings = Endings(step)
        take(step, guards, due, endings)
        endings.apply(effects, due)
        endings.finish()
    return Published(envelope.id, "accepted")


def _known(step: Step, id: str) -> bool:
    return step.execute(_KNOWN, (id,)).fetchone() is not None and not lapsed_tombstone(step, id)
