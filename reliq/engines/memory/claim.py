"""Claiming: promote what is due, drop what has expired, lease what is left; O(log n) for each message."""

from __future__ import annotations

from collections.abc import Sequence

from reliq.engines.memory.memory import Memory
from reliq.engines.memory.message import Message
from reliq.engines.memory.owner import Owner
from reliq.engines.memory.settle import finish
from reliq.ports.values import Claimed, Delivery


def take(memory: Memory, owner: Owner, queues: Sequence[str], limit: int) -> Claimed:
    """Lease up to `limit` messages to a live owner."""
    for queue in queues:
        promote(memory, queue)
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
        next_due=None if deliveries else _next_due(memory, queues),
        wants_alone=held_others and _first_charged(memory, queues) is not None,
    )


def again(owner: Owner) -> Claimed:
    """The last batch once more, less what is no longer leased by it."""
    held = owner.held
    return Claimed(
        deliveries=tuple(
            held[receipt.id].delivery()
            for receipt in owner.batch
            if receipt.id in held and held[receipt.id].fence == receipt.fence
        )
    )


def promote(memory: Memory, queue: str) -> None:
    """Make the messages of a queue ready whose time has come, in due order, unless they have expired."""
    while message := next_promotable(memory, queue):
        if not drop_expired(memory, message):
            memory.messages.promote(message)


def next_promotable(memory: Memory, queue: str) -> Message | None:
    line = memory.messages.lines.get(queue)
    message = line.due.first() if line else None
    return message if message and message.due <= memory.messages.now else None


def drop_expired(memory: Memory, message: Message) -> bool:
    """Drop a waiting message that was to begin before now."""
    if message.expires is None or message.expires > memory.messages.now:
        return False
    memory.messages.end(message, "dropped", "expired")
    finish(memory)
    return True


def _first(memory: Memory, queue: str, *, charged: bool = False) -> Message | None:
    """The first ready message of a queue; expired ones on the way are dropped."""
    # The line is looked up each time: dropping the last message of a queue removes it, `on_end` may bring a new one.
    while line := memory.messages.lines.get(queue):
        message = (line.charged if charged else line.ready).first()
        if message is None or not drop_expired(memory, message):
            return message
    return None


def _first_charged(memory: Memory, queues: Sequence[str]) -> Message | None:
    for queue in queues:
        if message := _first(memory, queue, charged=True):
            return message
    return None


def _lease(memory: Memory, message: Message, owner: Owner) -> Delivery:
    memory.messages.lease(message, owner)
    return message.delivery()


def _next_due(memory: Memory, queues: Sequence[str]) -> int | None:
    lines = (memory.messages.lines.get(queue) for queue in queues)
    firsts = (line.due.first() for line in lines if line)
    return min((message.due for message in firsts if message), default=None)
