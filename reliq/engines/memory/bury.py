"""Burying: the process is dead, so what it held is charged or taken back, and the owner is gone."""

from __future__ import annotations

from collections.abc import Sequence

from reliq.engines.memory.memory import Memory
from reliq.engines.memory.message import Message
from reliq.engines.memory.settle import finish, settle_one
from reliq.ports.values import Moved, Receipt, Settlement

MAX_WAIT = 60_000


def bury(
    memory: Memory, name: str, started: Sequence[Receipt] | None, guilty: Sequence[Settlement] = ()
) -> list[Moved]:
    """One step, so an owner is never seen half buried; what it held, and where that went."""
    owner = memory.owners.get(name)
    if owner is None:
        return []
    held = list(owner.held.values())
    known = None if started is None else set(started)
    had_started = {message.id for message in held if known is None or message.receipt() in known}
    for settlement in guilty:
        if settlement.receipt.owner == name:
            settle_one(memory, settlement)
    for message in list(owner.held.values()):
        if message.cancel:
            memory.messages.end(message, "dropped", "cancelled")
        elif message.id not in had_started:
            memory.messages.return_(message, refund=True, reason="process died")
        elif guilty:
            memory.messages.return_(message, refund=False, reason="process died")
        else:
            _charge(memory, message)
        finish(memory)
    del memory.owners[name]
    memory.graves[name] = memory.messages.now
    return [report(message) for message in held]


def report(message: Message) -> Moved:
    return Moved(message.id, message.envelope.task, message.queue, message.state, message.reason)


def _charge(memory: Memory, message: Message) -> None:
    """Only a crash while alone proves anything, so only that one quarantines."""
    was_alone = message.charged
    message.crashes += 1
    if was_alone and message.crashes >= message.envelope.max_crashes:
        memory.messages.end(message, "failed", f"crashed {message.crashes} times")
    else:
        wait = min(MAX_WAIT, 1000 << min(message.crashes - 1, 16))
        memory.messages.postpone(message, memory.messages.now + wait, "crashed")
