"""From a refused guard to what the caller is told."""

from __future__ import annotations

from reliq import DuplicateOf, PublishContext
from reliq.errors import GuardRefused
from reliq.ports import Value
from reliq_once.errors import AlreadyQueued
from reliq_once.placing import Place
from reliq_once.ticket import NewerRecord, record_of


def refusal(ctx: PublishContext, place: Place, refused: GuardRefused) -> AlreadyQueued:
    """The error that names the holder, where it is, and when its lock lapses; hooks outside can read who it is."""
    value, state = refused.found.value, refused.found.state
    holder = value.holder if value is not None else None
    expires = value.expires if value is not None else None
    left = None if expires is None else max(0.0, (expires - ctx.app.clock.now_ms()) / 1000)
    countdown = None if state == "leased" and not left else left
    name, where = ctx.task.name, state or "no record"
    text = f"{name} is queued already: message {holder} ({where}) holds the key; reliq why {holder}"
    if state in ("done", "failed", "dropped") and left is not None:
        text = (
            f"{name} is not queued: message {holder} ({where}) holds the key for another {left:.0f} s; "
            f"reliq why {holder}"
        )
    if value is not None and holder is not None:
        ctx.duplicate_of = DuplicateOf(holder, state, _trace(place.key, value))
    return AlreadyQueued(
        text, countdown=countdown, message=text, existing_id=holder, key=place.key, state=state
    )


def _trace(key: str, value: Value) -> str | None:
    try:
        return record_of(key, value).trace
    except NewerRecord:
        return None  # it holds the key all the same
