"""The store's operations: each is one step."""

from __future__ import annotations

import math
from collections.abc import Sequence

from reliq.engines.memory.guards import apply_effects, first_refused, take
from reliq.engines.memory.settle import finish
from reliq.engines.memory.steps import Steps
from reliq.ports.values import Applied, Scanned, Value
from reliq.wire.message import Effect, Guard


class MemoryStore(Steps):
    """The `Store` half of the engine."""

    def store_get(self, key: str) -> Value | None:
        with self._step() as memory:
            return memory.records.live(_checked(key))

    def store_put(
        self, key: str, data: bytes, *, ttl: float | None = None, holder: str | None = None
    ) -> Value:
        with self._step():
            return self._write(key, data, ttl, holder)

    def store_add(
        self, key: str, data: bytes, *, ttl: float | None = None, holder: str | None = None
    ) -> bool:
        with self._step() as memory:
            free = memory.records.live(_checked(key)) is None
            if free:
                self._write(key, data, ttl, holder)
            return free

    def store_swap(self, key: str, data: bytes, *, version: int, ttl: float | None = None) -> bool:
        with self._step() as memory:
            value = memory.records.live(_checked(key))
            same = version == (0 if value is None else value.version)
            if same:
                self._write(key, data, ttl, None if value is None else value.holder)
            return same

    def store_touch(self, key: str, *, ttl: float | None) -> bool:
        with self._step() as memory:
            if memory.records.live(_checked(key)) is None:
                return False
            memory.records.touch(key, expires=self._expires(ttl))
            return True

    def store_drop(self, key: str, *, holder: str | None = None) -> bool:
        with self._step() as memory:
            value = memory.records.live(_checked(key))
            if value is None or (holder is not None and value.holder != holder):
                return False
            memory.records.remove(key)
            return True

    def store_incr(
        self, key: str, by: int = 1, *, limit: int | None = None, ttl: float | None = None
    ) -> int | None:
        with self._step() as memory:
            value = memory.records.live(_checked(key))
            total = by + (0 if value is None else _integer(key, value.data))
            if limit is not None and total > limit:
                return None
            expires = self._expires(ttl) if value is None else value.expires
            holder = None if value is None else value.holder
            memory.records.write(key, b"%d" % total, expires=expires, holder=holder)
            return total

    def store_scan(self, prefix: str, *, limit: int = 1000, cursor: str = "") -> Scanned:
        with self._step() as memory:
            return memory.records.scan(prefix, limit, cursor)

    def apply(self, guards: Sequence[Guard], effects: Sequence[Effect]) -> Applied:
        with self._step() as memory:
            if (found := first_refused(memory, guards)) is not None:
                return Applied(False, found)
            take(memory, guards, memory.messages.now)
            skipped = apply_effects(memory, effects, memory.messages.now)
            finish(memory)
            return Applied(True, skipped=skipped)

    def index_due(self, index: str, *, before: int, limit: int = 100) -> list[tuple[str, int]]:
        with self._step() as memory:
            return memory.indexes.due(index, before, limit)

    def _write(self, key: str, data: bytes, ttl: float | None, holder: str | None) -> Value:
        return self._memory.records.write(_checked(key), data, expires=self._expires(ttl), holder=holder)

    def _expires(self, ttl: float | None) -> int | None:
        return None if ttl is None else self._memory.messages.now + math.ceil(ttl * 1000)


def _integer(key: str, data: bytes) -> int:
    try:
        return int(data)
    except ValueError:
        raise ValueError(f"The record under {key!r} is not an integer") from None


def _checked(key: str) -> str:
    if not 1 <= len(key) <= 512:
        raise ValueError(f"A key has 1 to 512 characters, this one has {len(key)}")
    return key
