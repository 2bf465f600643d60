"""Claiming: drop what has expired, promote what is due, lease what is ready; O(log n) for each message."""

from __future__ import annotations

from collections.abc import Sequence

from reliq.engines.memory.memory import Memory
from reliq.engines.memory.message import Message
from reliq.engines.memory.owner import Owner
from reliq.engines.memory.settle import finish
from reliq.ports.values import Claimed, Delivery, Found


def take(memory: Memory, owner: Owner, queues: Sequence[str], limit: int) -> Claimed:
    """Lease up to `limit` messages to a live owner."""
    while message := next_expired(memory):
        drop_expired(memory, message)
    for queue in queues:
        while message := next_due(memory, queue):
            memory.messages.promote(message)
    deliveries: list[Delivery] = []
    if not owner.held and (charged := _first_charged(memory, queues)):
        deliveries.append(_lease(memory, charged, owner))
    elif not owner.holds_charged:
        for queue in queues:
            while len(deliveries) < limit and (message := _first(memory, queue)):
                deliveries.append(_lease(memory, message, owner))

    held_others = len(owner.held) > len(deliveries)
    return Claimed(
        deliveries=tuple(deliveries),
        next_due=None if deliveries else _earliest_due(memory, queues),
        wants_alone=held_others and _first_charged(memory, queues) is not None,
    )


def again(owner: Owner) -> Claimed:
    """The last batch once more, less what the owner holds no longer (what came back to it is in a later batch)."""
    held = owner.held
    return Claimed(
        deliveries=tuple(held[receipt.id].delivery() for receipt in owner.batch if receipt.id in held)
    )


def next_due(memory: Memory, queue: str) -> Message | None:
    """The first message of a queue whose time has come."""
    line = memory.messages.lines.get(queue)
    message = line.due.first() if line else None
    return message if message and message.due <= memory.messages.now else None


def next_expired(memory: Memory) -> Message | None:
    """The first waiting message that was to begin before now."""
    message = memory.messages.expiring.first()
    return (
        message
        if message and message.expires is not None and message.expires <= memory.messages.now
        else None
    )


def drop_expired(memory: Memory, message: Message) -> None:
    memory.messages.end(message, "dropped", "expired")
    finish(memory)


def end_expired_holder(memory: Memory, found: Found) -> bool:
    """Whether what stood in the way was held by a message that had expired, and has ended now."""
    holder = memory.messages.by_id.get((found.value and found.value.holder) or "")
    if holder is None or not holder.waiting or holder.expires is None or holder.expires > memory.messages.now:
        return False
    drop_expired(memory, holder)
    return True


def _first(memory: Memory, queue: str) -> Message | None:
    line = memory.messages.lines.get(queue)
    return line.ready.first() if line else None


def _first_charged(memory: Memory, queues: Sequence[str]) -> Message | None:
    lines = (memory.messages.lines.get(queue) for queue in queues)
    firsts = (line.charged.first() for line in lines if line)
    return next((message for message in firsts if message), None)


def _lease(memory: Memory, message: Message, owner: Owner) -> Delivery:
    memory.messages.lease(message, owner)
    return message.delivery()


def _earliest_due(memory: Memory, queues: Sequence[str]) -> int | None:
    lines = (memory.messages.lines.get(queue) for queue in queues)
    firsts = (line.due.first() for line in lines if line)
    return min((message.due for message in firsts if message), default=None)
