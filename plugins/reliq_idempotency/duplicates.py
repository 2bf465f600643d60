"""What the sender of a duplicate is given."""

from __future__ import annotations

import logging
from collections.abc import Callable

from reliq import DuplicateOf, Join, PublishContext
from reliq.errors import GuardRefused
from reliq_idempotency.entry import Entry
from reliq_idempotency.errors import IdempotencyConflict, IdempotencyError, IdempotencyMismatch
from reliq_idempotency.plan import Plan

logger = logging.getLogger("reliq.idempotency")

_LIVE = ("ready", "due", "leased")


def answer(
    ctx: PublishContext, plan: Plan, refused: GuardRefused, *, raising: bool, count: Callable[[str], None]
) -> Join:
    """The handle of the message that has the key, or the error that says why there is none."""
    value, state = refused.found.value, refused.found.state
    entry = Entry.of(value, key=plan.key)
    task, first = ctx.task.name, entry.id
    ctx.duplicate_of = DuplicateOf(first, state, entry.trace)
    if differs(plan, entry):
        count("mismatches")
        raise mismatch(plan, entry, task) from None
    if raising:
        count("conflicts")
        raise IdempotencyConflict(
            f"{task} was sent with this key before, as message {first} ({state or entry.state}); reliq why {first}",
            key=plan.key,
            existing_id=first,
            state=state,
        ) from None
    if state in _LIVE:
        count("joins")
        logger.info("call of %s joined message %s (%s)", task, first, state)
        return Join(first)
    if state is None and entry.state == "accepted" and value.expires is None:
        # No ending frees a record without freeing its message, so this was made outside of reliq.
        raise IdempotencyError(
            f"The key of {task} is held by message {first}, which the broker does not know (was its data restored "
            f"in part?); `reliq idem rm {plan.key}` frees the key",
            key=plan.key,
            existing_id=first,
        ) from None
    count("replays")
    logger.info("call of %s was given the result of message %s", task, first)
    if entry.state == "failed" and state == "failed":
        return Join(first)  # the message's own record still has the traceback
    return Join(first, record=entry.record(queue=ctx.queue))


def differs(plan: Plan, entry: Entry) -> bool:
    """Whether the arguments were others; not where either side had none to compare."""
    return None not in (plan.fingerprint, entry.fingerprint) and plan.fingerprint != entry.fingerprint


def mismatch(plan: Plan, entry: Entry, task: str) -> IdempotencyMismatch:
    return IdempotencyMismatch(
        f"{task} was sent with this key before, but with other arguments (message {entry.id}); a new call needs a new "
        f"key. `reliq idem show {plan.key}` shows the record",
        key=plan.key,
        existing_id=entry.id,
    )
