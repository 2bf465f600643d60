"""The store's operations: each is one transaction."""

from __future__ import annotations

import math
from collections.abc import Sequence

from reliq.engines.sqlite import store
from reliq.engines.sqlite.connection import Connection, Step
from reliq.engines.sqlite.effects import first_refused, take
from reliq.engines.sqlite.endings import Endings
from reliq.policy.clock import Clock
from reliq.ports.values import Applied, Scanned, Value
from reliq.wire.message import Effect, Guard


class SqliteStore:
    """The `Store` half of the engine."""

    _link: Connection
    _clock: Clock

    def store_get(self, key: str) -> Value | None:
        return self._link.read(store.get, self._clock.now_ms(), _checked(key))

    def store_put(
        self, key: str, data: bytes, *, ttl: float | None = None, holder: str | None = None
    ) -> Value:
        return self._link.write(_put, _checked(key), data, ttl, holder)

    def store_add(
        self, key: str, data: bytes, *, ttl: float | None = None, holder: str | None = None
    ) -> bool:
        def add(step: Step) -> bool:
            free = store.get(step.execute, step.now, key) is None
            if free:
                _put(step, key, data, ttl, holder)
            return free

        _checked(key)
        return self._link.write(add)

    def store_swap(self, key: str, data: bytes, *, version: int, ttl: float | None = None) -> bool:
        def swap(step: Step) -> bool:
            value = store.get(step.execute, step.now, key)
            same = version == (0 if value is None else value.version)
            if same:
                _put(step, key, data, ttl, None if value is None else value.holder)
            return same

        _checked(key)
        return self._link.write(swap)

    def store_touch(self, key: str, *, ttl: float | None) -> bool:
        def touch(step: Step) -> bool:
            if store.get(step.execute, step.now, key) is None:
                return False
            store.touch(step.execute, key, _expires(step, ttl))
            return True

        _checked(key)
        return self._link.write(touch)

    def store_drop(self, key: str, *, holder: str | None = None) -> bool:
        def drop(step: Step) -> bool:
            value = store.get(step.execute, step.now, key)
            if value is None or (holder is not None and value.holder != holder):
                return False
            store.remove(step.execute, key)
            return True

        _checked(key)
        return self._link.write(drop)

    def store_incr(
        self, key: str, by: int = 1, *, limit: int | None = None, ttl: float | None = None
    ) -> int | None:
        def incr(step: Step) -> int | None:
            value = store.get(step.execute, step.now, key)
            total = by + (0 if value is None else int(value.data))
            if limit is not None and total > limit:
                return None
            expires = _expires(step, ttl) if value is None else value.expires
            store.put(
                step.execute, step.now, key, b"%d" % total, expires, None if value is None else value.holder
            )
            return total

        _checked(key)
        return self._link.write(incr)

    def store_scan(self, prefix: str, *, limit: int = 1000, cursor: str = "") -> Scanned:
        return self._link.read(store.scan, self._clock.now_ms(), prefix, limit, cursor)

    def apply(self, guards: Sequence[Guard], effects: Sequence[Effect]) -> Applied:
        return self._link.write(_apply, guards, effects)

    def index_due(self, index: str, *, before: int, limit: int = 100) -> list[tuple[str, int]]:
        return self._link.read(store.index_due, index, before, limit)


def _apply(step: Step, guards: Sequence[Guard], effects: Sequence[Effect]) -> Applied:
    if (found := first_refused(step, guards)) is not None:
        return Applied(False, found)
    endings = Endings(step)
    take(step, guards, step.now, endings)
    skipped = endings.apply(effects, step.now)
    endings.finish()
    return Applied(True, skipped=skipped)


def _put(step: Step, key: str, data: bytes, ttl: float | None, holder: str | None) -> Value:
    return store.put(step.execute, step.now, key, data, _expires(step, ttl), holder)


def _expires(step: Step, ttl: float | None) -> int | None:
    return None if ttl is None else step.now + math.ceil(ttl * 1000)


def _checked(key: str) -> str:
    if not 1 <= len(key) <= 512:
        raise ValueError(f"A key has 1 to 512 characters, this one has {len(key)}")
    return key
