"""What operators ask: these may look at every message."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import dropwhile, islice
from typing import get_args

from reliq.engines.memory.memory import Memory
from reliq.engines.memory.message import Message
from reliq.ports.values import Audit, Depth, Record, State


def depth(memory: Memory, queue: str) -> Depth:
    line = memory.messages.lines.get(queue)
    if line is None:
        return Depth(queue)
    waiting = (m.due for m in memory.messages.by_id.values() if m.queue == queue and m.state == "ready")
    return Depth(
        queue, line.count["ready"], line.count["due"], line.count["leased"], min(waiting, default=None)
    )


def listed(
    memory: Memory,
    *,
    states: Sequence[State],
    queue: str | None,
    task: str | None,
    reason: str | None,
    limit: int,
    after: str | None,
) -> list[Record]:
    def wanted(message: Message) -> bool:
        return (
            (not states or message.state in states)
            and (queue is None or message.queue == queue)
            and (task is None or message.envelope.task == task)
            and (reason is None or (message.reason or "").startswith(reason))
        )

    # A dict keeps the order of insertion, which is the order of acceptance.
    messages = iter(memory.messages.by_id.values())
    if after is not None:
        messages = islice(dropwhile(lambda message: message.id != after, messages), 1, None)
    return [message.record(transitions=False) for message in islice(filter(wanted, messages), limit)]


def audit(memory: Memory) -> Audit:
    states: dict[str, int] = {state: memory.messages.endings[state] for state in get_args(State)}
    broken: list[tuple[str, str]] = []
    for message in memory.messages.by_id.values():
        if message.live:
            states[message.state] += 1
        if rule := _breaks(memory, message):
            broken.append((message.id, rule))
    return Audit(memory.messages.accepted, states, tuple(broken))


def _breaks(memory: Memory, message: Message) -> str | None:
    held = message.owner is not None and message.owner.held.get(message.id) is message
    if (message.state == "leased") != held:
        return "is leased if and only if an owner holds it"
    if message.owner is not None and memory.owners.get(message.owner.name) is not message.owner:
        return "only a live owner holds messages"
    if message.live == (message.ended is not None):
        return "has an end if and only if it ended"
    return None
