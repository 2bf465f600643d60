"""Publishing: each item is refused, a duplicate, or accepted with all that belongs to it."""

from __future__ import annotations

from collections.abc import Sequence

from reliq.engines.sqlite.connection import Step
from reliq.engines.sqlite.effects import first_refused, take
from reliq.engines.sqlite.endings import Endings
from reliq.engines.sqlite.insert import insert, lapsed_tombstone, values_of
from reliq.ports.values import Publication, Published
from reliq.wire.codec import HARD_MAX_MESSAGE, encode

_KNOWN = "SELECT 1 FROM message WHERE id = ?"


def publish(step: Step, publications: Sequence[Publication]) -> list[Published]:
    """One answer for each, in order."""
    return [_one(step, publication) for publication in publications]


def _one(step: Step, publication: Publication) -> Published:
    envelope, guards, effects = publication.envelope, publication.guards, publication.effects
    if guards and _known(step, envelope.id):
        return Published(envelope.id, "duplicate")
    try:
        payload = encode(envelope, limit=HARD_MAX_MESSAGE)
    except (ValueError, TypeError) as error:
        status = "duplicate" if _known(step, envelope.id) else "refused"
        return Published(envelope.id, status, error=None if status == "duplicate" else str(error))  # type: ignore[arg-type]
    if guards and (found := first_refused(step, guards)) is not None:
        return Published(envelope.id, "refused", found=found)

    values = values_of(envelope, payload, step.now, step.places())
    if not insert(step, values):
        return Published(envelope.id, "duplicate")
    if guards or effects:
        due = values[4]
        take(step, guards, due)
        endings = Endings(step)
        endings.apply(effects, due)
        endings.finish()
    return Published(envelope.id, "accepted")


def _known(step: Step, id: str) -> bool:
    return step.execute(_KNOWN, (id,)).fetchone() is not None and not lapsed_tombstone(step, id)
