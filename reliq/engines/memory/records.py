"""The store: records with a life of their own, and ordered indexes."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from heapq import heappop, heappush

from msgspec.structs import replace

from reliq.engines.memory.messages import Messages
from reliq.ports.values import Scanned, Value


class Records:
    """Keys to values.  A record whose holder is leased is live, whatever its ttl."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self._by_key: dict[str, Value] = {}
        self._keys: list[str] = []  # sorted
        self._lapses: list[tuple[int, str]] = []

    def live(self, key: str) -> Value | None:
        value = self._by_key.get(key)
        return None if value is None or self._lapsed(value) else value

    def write(self, key: str, data: bytes, *, expires: int | None, holder: str | None) -> Value:
        """Write, whatever stands there."""
        before = self.live(key)
        return self._set(key, Value(data, 1 if before is None else before.version + 1, expires, holder))

    def touch(self, key: str, *, expires: int | None) -> None:
        """A live record gets a new end; that is no write, so its version stays."""
        self._set(key, replace(self._by_key[key], expires=expires))

    def remove(self, key: str) -> None:
        if self._by_key.pop(key, None) is not None:
            del self._keys[bisect_left(self._keys, key)]

    def scan(self, prefix: str, limit: int, after: str) -> Scanned:
        found: list[tuple[str, Value]] = []
        start = max(bisect_left(self._keys, prefix), bisect_right(self._keys, after))
        for key in self._keys[start:]:
            if not key.startswith(prefix):
                break
            if (value := self.live(key)) is not None:
                found.append((key, value))
            if len(found) >= limit:
                return Scanned(tuple(found), key)
        return Scanned(tuple(found))

    def collect(self, limit: int) -> int:
        """Remove up to `limit` lapsed records; how many."""
        removed = 0
        kept: list[tuple[int, str]] = []
        while removed < limit and self._lapses and self._lapses[0][0] <= self._messages.now:
            moment, key = heappop(self._lapses)
            value = self._by_key.get(key)
            if value is None or value.expires != moment:
                continue  # it was written again since
            if self._lapsed(value):
                self.remove(key)
                removed += 1
            else:
                kept.append((moment, key))
        for entry in kept:
            heappush(self._lapses, entry)
        return removed

    def _set(self, key: str, value: Value) -> Value:
        if key not in self._by_key:
            insort(self._keys, key)
        self._by_key[key] = value
        if value.expires is not None:
            heappush(self._lapses, (value.expires, key))
            if len(self._lapses) > 2 * len(self._by_key) + 64:  # mostly entries that were written again since
                self._lapses = sorted(
                    (v.expires, k) for k, v in self._by_key.items() if v.expires is not None
                )
        return value

    def _lapsed(self, value: Value) -> bool:
        if value.expires is None or value.expires > self._messages.now:
            return False
        holder = self._messages.by_id.get(value.holder or "")
        return holder is None or holder.state != "leased"


class Indexes:
    """Ordered indexes: each member stands once, at a moment."""

    def __init__(self) -> None:
        self._moments: dict[str, dict[str, int]] = {}
        self._sorted: dict[str, list[tuple[int, str]]] = {}

    def put(self, index: str, member: str, at: int) -> None:
        self.remove(index, member)
        self._moments.setdefault(index, {})[member] = at
        insort(self._sorted.setdefault(index, []), (at, member))

    def remove(self, index: str, member: str) -> bool:
        at = self._moments.get(index, {}).pop(member, None)
        if at is None:
            return False
        entries = self._sorted[index]
        del entries[bisect_left(entries, (at, member))]
        if not entries:
            del self._sorted[index], self._moments[index]
        return True

    def due(self, index: str, before: int, limit: int) -> list[tuple[str, int]]:
        entries = self._sorted.get(index, [])
        return [(member, at) for at, member in entries[: min(limit, bisect_left(entries, (before + 1, "")))]]
