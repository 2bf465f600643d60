"""The model's store: dictionaries, and the rules for keys written down one by one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from reliq.ports.values import Found, Scanned, State, Value
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


class ModelStore:
    """Keys and indexes.  `state_and_due` and `fence` tell of a message, `drop_waiting` ends a waiting one."""

    def __init__(
        self,
        now: Callable[[], int],
        state_and_due: Callable[[str], tuple[State, int] | None],
        drop_waiting: Callable[[str, str], bool],
        fence: Callable[[str], int | None],
    ) -> None:
        self.now = now
        self.state_and_due = state_and_due
        self.drop_waiting = drop_waiting
        self.fence = fence
        self.keys: dict[str, Value] = {}
        self.indexes: dict[tuple[str, str], int] = {}

    # --- records ---

    def live(self, key: str) -> Value | None:
        value = self.keys.get(key)
        if value is None:
            return None
        in_time = value.expires is None or value.expires > self.now()
        return value if in_time or self.state_of(value.holder) == "leased" else None

    def write(self, key: str, data: bytes, expires: int | None, holder: str | None) -> Value:
        before = self.live(key)
        self.keys[key] = Value(data, before.version + 1 if before else 1, expires, holder)
        return self.keys[key]

    def state_of(self, id: str | None) -> State | None:
        found = self.state_and_due(id) if id is not None else None
        return found[0] if found else None

    def until(self, ttl: int | None, from_due: bool = False, due: int = 0) -> int | None:
        if ttl is None:
            return None
        return (max(due, self.now()) if from_due else self.now()) + ttl

    def collect(self) -> None:
        for key in list(self.keys):
            if self.live(key) is None:
                del self.keys[key]

    # --- guards ---

    def first_refused(self, guards: Sequence[Guard]) -> Found | None:
        for guard in guards:
            if (found := self.refusal(guard)) is not None:
                return found
        return None

    def refusal(self, guard: Guard) -> Found | None:
        if isinstance(guard, NotLeased):
            found = self.state_and_due(guard.id)
            return Found(guard, None, *found) if found is not None and found[0] == "leased" else None
        if isinstance(guard, Leased):
            found = self.state_and_due(guard.id)
            if found is not None and found[0] == "leased" and self.fence(guard.id) == guard.fence:
                return None
            return Found(guard, None, *(found or (None, None)))
        value = self.live(guard.key)
        if self.holds(guard, value):
            return None
        holder = self.state_and_due(value.holder) if value is not None and value.holder is not None else None
        return Found(guard, value, *(holder or (None, None)))

    def holds(self, guard: Add | Absent | Equals | AtVersion, value: Value | None) -> bool:
        if isinstance(guard, Absent):
            return value is None
        if isinstance(guard, Equals):
            return value is not None and value.data == guard.value
        if isinstance(guard, AtVersion):
            return guard.version == (value.version if value else 0)
        if value is None:
            return True
        if value.holder is None:
            return False
        if value.holder == guard.holder:
            return True
        state = self.state_of(value.holder)
        if state in ("ready", "due"):
            return guard.replaces is not None
        return guard.or_leased if state == "leased" else guard.or_dead

    def take(self, guards: Sequence[Guard], due: int) -> None:
        for guard in guards:
            if isinstance(guard, Add):
                before = self.live(guard.key)
                self.write(guard.key, guard.value, self.until(guard.ttl, guard.from_due, due), guard.holder)
                old = before.holder if before else None
                if guard.replaces is not None and old is not None and old != guard.holder:
                    self.drop_waiting(old, guard.replaces)

    # --- effects ---

    def apply_effects(self, effects: Sequence[Effect], due: int) -> int:
        return [self.effect(effect, due) for effect in effects].count(False)

    def effect(self, effect: Effect, due: int) -> bool:
        if isinstance(effect, CancelMessage):
            return self.drop_waiting(effect.id, effect.reason)
        if isinstance(effect, IndexPut):
            self.indexes[effect.index, effect.member] = effect.at
            return True
        if isinstance(effect, IndexRemove):
            return self.indexes.pop((effect.index, effect.member), None) is not None
        return self.record_effect(effect, self.live(effect.key), due)

    def record_effect(self, effect: Put | Remove | Touch | Incr, value: Value | None, due: int) -> bool:
        if isinstance(effect, Put):
            if effect.holder is not None and value is not None and value.holder not in (None, effect.holder):
                return False
            self.write(effect.key, effect.value, self.until(effect.ttl, effect.from_due, due), effect.holder)
            return True
        if isinstance(effect, Incr):
            if value is None:
                self.write(effect.key, str(effect.by).encode(), self.until(effect.ttl), None)
                return True
            if not value.data.lstrip(b"-").isdigit():
                return False
            self.write(effect.key, str(int(value.data) + effect.by).encode(), value.expires, value.holder)
            return True
        if value is None or effect.holder not in (None, value.holder):
            return False
        if isinstance(effect, Touch):
            self.keys[effect.key] = replace(value, expires=self.until(effect.ttl, effect.from_due, due))
            return True
        if effect.value not in (None, value.data):
            return False
        del self.keys[effect.key]
        return True

    # --- the port ---

    def store_get(self, key: str) -> Value | None:
        return self.live(key)

    def store_put(
        self, key: str, data: bytes, *, ttl: float | None = None, holder: str | None = None
    ) -> Value:
        return self.write(key, data, self.seconds(ttl), holder)

    def store_add(
        self, key: str, data: bytes, *, ttl: float | None = None, holder: str | None = None
    ) -> bool:
        if self.live(key) is not None:
            return False
        self.write(key, data, self.seconds(ttl), holder)
        return True

    def store_swap(self, key: str, data: bytes, *, version: int, ttl: float | None = None) -> bool:
        value = self.live(key)
        if version != (value.version if value else 0):
            return False
        self.write(key, data, self.seconds(ttl), value.holder if value else None)
        return True

    def store_touch(self, key: str, *, ttl: float | None) -> bool:
        value = self.live(key)
        if value is not None:
            self.keys[key] = replace(value, expires=self.seconds(ttl))
        return value is not None

    def store_drop(self, key: str, *, holder: str | None = None) -> bool:
        value = self.live(key)
        if value is None or holder not in (None, value.holder):
            return False
        del self.keys[key]
        return True

    def store_incr(
        self, key: str, by: int = 1, *, limit: int | None = None, ttl: float | None = None
    ) -> int | None:
        value = self.live(key)
        total = (int(value.data) if value else 0) + by
        if limit is not None and total > limit:
            return None
        expires = value.expires if value else self.seconds(ttl)
        self.write(key, str(total).encode(), expires, value.holder if value else None)
        return total

    def store_scan(self, prefix: str, *, limit: int = 1000, cursor: str = "") -> Scanned:
        keys = sorted(key for key in self.keys if key.startswith(prefix) and key > cursor)
        found = tuple((key, value) for key in keys if (value := self.live(key)))
        return Scanned(found[:limit], found[limit - 1][0] if len(found) > limit else "")

    def index_due(self, index: str, *, before: int, limit: int = 100) -> list[tuple[str, int]]:
        members = [
            (at, member) for (name, member), at in self.indexes.items() if name == index and at <= before
        ]
        return [(member, at) for at, member in sorted(members)[:limit]]

    def seconds(self, ttl: float | None) -> int | None:
        return None if ttl is None else self.now() + math.ceil(ttl * 1000)
