"""Guards are checked before anything is written; effects are applied after all of them hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reliq.engines.sqlite import rows, store
from reliq.engines.sqlite.connection import Step
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

if TYPE_CHECKING:
    from reliq.engines.sqlite.endings import Endings


def first_refused(step: Step, guards: Sequence[Guard]) -> Found | None:
    for guard in guards:
        if (found := _check(step, guard)) is not None:
            return found
    return None


def take(step: Step, guards: Sequence[Guard], due: int, endings: Endings) -> None:
    """Write what the `Add` guards take, and end what they replace; all guards hold."""
    for guard in guards:
        if isinstance(guard, Add):
            before = None if guard.replaces is None else store.get(step.execute, step.now, guard.key)
            expires = _expires(step, guard.ttl, guard.from_due, due)
            store.put(step.execute, step.now, guard.key, guard.value, expires, guard.holder)
            if before is not None and before.holder not in (None, guard.holder):
                replaced = rows.find(step.execute, before.holder)
                if replaced is not None and replaced.waiting:
                    endings.end(replaced, "dropped", guard.replaces)


def apply_effects(step: Step, effects: Sequence[Effect], due: int, endings: Endings) -> int:
    """Apply in order; how many found nothing to act on.  `from_due` counts from `due`, or now if that is later."""
    return sum(not _apply(step, effect, due, endings) for effect in effects)


def _check(step: Step, guard: Guard) -> Found | None:
    if isinstance(guard, NotLeased | Leased):
        message = rows.find(step.execute, guard.id)
        fence = message.fence if message is not None and message.state == rows.LEASED else None
        holds = fence == guard.fence if isinstance(guard, Leased) else fence is None
        return None if holds else _found(guard, None, message)
    value = store.get(step.execute, step.now, guard.key)
    holder = None if value is None or value.holder is None else rows.find(step.execute, value.holder)
    if isinstance(guard, Add):
        refused = value is not None and not _may_take(guard, value, holder)
    elif isinstance(guard, Absent):
        refused = value is not None
    elif isinstance(guard, Equals):
        refused = value is None or value.data != guard.value
    else:
        assert isinstance(guard, AtVersion)
        refused = (0 if value is None else value.version) != guard.version
    return _found(guard, value, holder) if refused else None


def _may_take(guard: Add, value: Value, holder: rows.Row | None) -> bool:
    if value.holder is None:
        return False
    if value.holder == guard.holder:
        return True
    if holder is None or not holder.live:
        return guard.or_dead
    return guard.or_leased if holder.state == rows.LEASED else guard.replaces is not None


def _found(guard: Guard, value: Value | None, message: rows.Row | None) -> Found:
    if message is None:
        return Found(guard, value)
    return Found(guard, value, rows.NAMES[message.state], message.due)


def _apply(step: Step, effect: Effect, due: int, endings: Endings) -> bool:
    execute, now = step.execute, step.now
    if isinstance(effect, IndexPut):
        store.index_put(execute, effect.index, effect.member, effect.at)
        return True
    if isinstance(effect, IndexRemove):
        return store.index_remove(execute, effect.index, effect.member)
    if isinstance(effect, CancelMessage):
        message = rows.find(execute, effect.id)
        if message is None or not message.waiting:
            return False
        endings.end(message, "dropped", effect.reason)
        return True
    value = store.get(execute, now, effect.key)
    if isinstance(effect, Incr):
        return _incr(step, effect, value)
    if isinstance(effect, Put):
        if effect.holder is not None and value is not None and value.holder not in (None, effect.holder):
            return False
        expires = _expires(step, effect.ttl, effect.from_due, due)
        store.put(execute, now, effect.key, effect.value, expires, effect.holder)
        return True
    if value is None or (effect.holder is not None and value.holder != effect.holder):
        return False
    if isinstance(effect, Touch):
        store.touch(execute, effect.key, _expires(step, effect.ttl, effect.from_due, due))
        return True
    assert isinstance(effect, Remove)
    if effect.value is not None and value.data != effect.value:
        return False
    store.remove(execute, effect.key)
    return True


def _incr(step: Step, effect: Incr, value: Value | None) -> bool:
    if value is None:
        expires = _expires(step, effect.ttl, False, 0)
        store.put(step.execute, step.now, effect.key, b"%d" % effect.by, expires, None)
        return True
    try:
        total = int(value.data) + effect.by
    except ValueError:
        return False
    store.put(step.execute, step.now, effect.key, b"%d" % total, value.expires, value.holder)
    return True


def _expires(step: Step, ttl: int | None, from_due: bool, due: int) -> int | None:
    if ttl is None:
        return None
    return (max(step.now, due) if from_due else step.now) + ttl
