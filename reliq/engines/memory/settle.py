"""Settling: one verdict, its effects, its follow-ups and the envelope's `on_end`, in one step."""

from __future__ import annotations

from reliq.engines.memory.guards import apply_effects
from reliq.engines.memory.memory import Memory
from reliq.engines.memory.message import Message
from reliq.engines.memory.publish import follow_up
from reliq.ports.values import Settled, Settlement


def settle_one(memory: Memory, settlement: Settlement) -> Settled:
    """Applied, repeated or stale.  A leased message's owner is live: one that is buried holds nothing any more."""
    receipt = settlement.receipt
    message = memory.messages.by_id.get(receipt.id)
    if message is None:
        return Settled(receipt.id, "stale")
    if message.state == "leased" and message.receipt() == receipt:
        return Settled(receipt.id, "applied", _apply(memory, message, settlement))
    if receipt.fence and message.settled == receipt.fence:
        return Settled(receipt.id, "repeated")
    return Settled(receipt.id, "stale")


def finish(memory: Memory) -> None:
    """Apply `on_end` of all that ended in this step, also of what that ends.

    Whatever ends a message, this follows in the same step (rule 4): no lock outlives its message.
    """
    pending = memory.messages.to_finish
    while pending:
        message, state, value = pending.popleft()
        for ending in message.envelope.on_end:
            if ending.on in (state, "any"):
                apply_effects(memory, ending.effects, message.due)
                for after in ending.follow_ups:
                    follow_up(memory, after, message.id, value)


def _apply(memory: Memory, message: Message, settlement: Settlement) -> int:
    message.settled = message.fence
    if settlement.kind == "retry" or settlement.kind == "snooze":
        _put_off(memory, message, settlement)
    else:
        value = settlement.value if settlement.kind == "done" else None
        memory.messages.end(message, settlement.kind, settlement.reason, value=value, error=settlement.error)

    skipped = apply_effects(memory, settlement.effects, message.due)
    for after in settlement.follow_ups:
        follow_up(memory, after, message.id, settlement.value)
    finish(memory)
    return skipped


def _put_off(memory: Memory, message: Message, settlement: Settlement) -> None:
    messages = memory.messages
    if message.cancel or (message.expires is not None and messages.now >= message.expires):
        messages.end(message, "dropped", "cancelled" if message.cancel else "expired", error=settlement.error)
        return
    if settlement.kind == "retry":
        message.retries += 1
    else:
        message.snoozes += 1
        message.attempt -= 1
    due = messages.now + (settlement.after or 0) if settlement.at is None else settlement.at
    messages.postpone(message, due, settlement.reason, settlement.error)
