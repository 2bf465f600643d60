"""Idempotency: a second send of the same call gives the first one's result.

    app = Reliq("shop", middleware=[Idempotency(ttl=86400)])

    @app.task(idempotency={"keys": ["order_id"]})
    def charge(order_id: int, cents: int) -> str:
        return psp.charge(cents, key=current().idempotency_key)

The record belongs to the message.  It is written with the publish, completed with the settlement and freed or kept by
whatever ends the message, in the same step each time, so a worker that dies leaves nothing to clean up.  What a task
does outside of the broker can happen twice all the same, when its worker is killed between the effect and the
settlement: `reliq_idempotency.sqlalchemy` and `reliq_idempotency.django` have an inbox for effects in an SQL database.
"""

from __future__ import annotations

from reliq_idempotency.errors import (
    IdempotencyConflict,
    IdempotencyError,
    IdempotencyInProgress,
    IdempotencyMismatch,
    InboxError,
)
from reliq_idempotency.middleware import Idempotency
from reliq_idempotency.options import Idempotent

__all__ = [
    "Idempotency",
    "IdempotencyConflict",
    "IdempotencyError",
    "IdempotencyInProgress",
    "IdempotencyMismatch",
    "Idempotent",
    "InboxError",
]
