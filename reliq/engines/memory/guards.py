"""Guards are checked before anything is written; effects are applied after all of them hold."""

from __future__ import annotations

from collections.abc import Sequence

from reliq.engines.memory.memory import Memory
from reliq.ports.values import Found, Value
from reliq.wire.message import (
    Absent,
    Add,
    AtVersion,
    CancelMessage,
    Effect,
    Equals,
    Guard,
    Incr,
    IndexPut,
    IndexRemove,
    Leased,
    NotLeased,
    Put,
    Remove,
    Touch,
)


def first_refused(memory: Memory, guards: Sequence[Guard]) -> Found | None:
    for guard in guards:
        if (found := _check(memory, guard)) is not None:
            return found
    return None


def take(memory: Memory, guards: Sequence[Guard], due: int) -> None:
    """Write what the `Add` guards take, and end what they replace; all guards hold."""
    for guard in guards:
        if isinstance(guard, Add):
            before = memory.records.live(guard.key)
            expires = _expires(memory, guard.ttl, guard.from_due, due)
            memory.records.write(guard.key, guard.value, expires=expires, holder=guard.holder)
            if guard.replaces is not None and before is not None and before.holder != guard.holder:
                replaced = memory.messages.by_id.get(before.holder or "")
                if replaced is not None and replaced.waiting:
                    memory.messages.end(replaced, "dropped", guard.replaces)


def apply_effects(memory: Memory, effects: Sequence[Effect], due: int) -> int:
    """Apply in order; how many found nothing they may act on.  `from_due` counts from `due`, at least from now."""
    return sum(not _apply(memory, effect, due) for effect in effects)


def _check(memory: Memory, guard: Guard) -> Found | None:
    if isinstance(guard, NotLeased | Leased):
        message = memory.messages.by_id.get(guard.id)
        fence = message.fence if message is not None and message.state == "leased" else None
        holds = fence == guard.fence if isinstance(guard, Leased) else fence is None
        return None if holds else _found(memory, guard, None, guard.id)
    value = memory.records.live(guard.key)
    if isinstance(guard, Add):
        refused = value is not None and not _may_take(memory, guard, value)
    elif isinstance(guard, Absent):
        refused = value is not None
    elif isinstance(guard, Equals):
        refused = value is None or value.data != guard.value
    else:
        assert isinstance(guard, AtVersion)
        refused = (0 if value is None else value.version) != guard.version
    return _found(memory, guard, value, None if value is None else value.holder) if refused else None


def _may_take(memory: Memory, guard: Add, value: Value) -> bool:
    if value.holder is None:
        return False
    if value.holder == guard.holder:
        return True
    holder = memory.messages.by_id.get(value.holder)
    if holder is None or not holder.live:
        return guard.or_dead
    return guard.or_leased if holder.state == "leased" else guard.replaces is not None


def _found(memory: Memory, guard: Guard, value: Value | None, id: str | None) -> Found:
    message = memory.messages.by_id.get(id or "")
    if message is None:
        return Found(guard, value)
    return Found(guard, value, message.state, message.due)


def _apply(memory: Memory, effect: Effect, due: int) -> bool:
    records, indexes = memory.records, memory.indexes
    if isinstance(effect, IndexPut):
        indexes.put(effect.index, effect.member, effect.at)
        return True
    if isinstance(effect, IndexRemove):
        return indexes.remove(effect.index, effect.member)
    if isinstance(effect, CancelMessage):
        message = memory.messages.by_id.get(effect.id)
        if message is None or not message.waiting:
            return False
        memory.messages.end(message, "dropped", effect.reason)
        return True

    value = records.live(effect.key)
    if isinstance(effect, Incr):
        return _incr(memory, effect, value)
    if isinstance(effect, Put):
        if effect.holder is not None and value is not None and value.holder not in (None, effect.holder):
            return False
        expires = _expires(memory, effect.ttl, effect.from_due, due)
        records.write(effect.key, effect.value, expires=expires, holder=effect.holder)
        return True
    if value is None or (effect.holder is not None and value.holder != effect.holder):
        return False
    if isinstance(effect, Touch):
        expires = _expires(memory, effect.ttl, effect.from_due, due)
        records.touch(effect.key, expires=expires)
        return True
    assert isinstance(effect, Remove)
    if effect.value is not None and value.data != effect.value:
        return False
    records.remove(effect.key)
    return True


def _incr(memory: Memory, effect: Incr, value: Value | None) -> bool:
    if value is None:
        expires = _expires(memory, effect.ttl, False, 0)
        memory.records.write(effect.key, b"%d" % effect.by, expires=expires, holder=None)
        return True
    try:
        total = int(value.data) + effect.by
    except ValueError:
        return False
    memory.records.write(effect.key, b"%d" % total, expires=value.expires, holder=value.holder)
    return True


def _expires(memory: Memory, ttl: int | None, from_due: bool, due: int) -> int | None:
    if ttl is None:
        return None
    now = memory.messages.now
    return (max(now, due) if from_due else now) + ttl
