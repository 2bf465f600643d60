"""The store: small records with a life of their own, beside the messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from reliq.ports.values import Applied, Scanned, Value
from reliq.wire.message import Effect, Guard


class Store(Protocol):
    """Keys to bytes.  Every record has its own life inside the record; a lapsed one is as if absent.

    A record whose holder (a message id) is leased is live whatever its ttl: what hangs on a delivery has no clock of
    its own.  A write over a live record makes version + 1, any other version 1.

    `ttl` is in seconds here (None: for ever).  A key is 1 to 512 characters, else `ValueError`.  The names carry the
    prefix `store_` because an engine is a broker and a store in one object.
    """

    def store_get(self, key: str) -> Value | None:
        """The live record, or None."""
        ...

    def store_put(
        self, key: str, data: bytes, *, ttl: float | None = None, holder: str | None = None
    ) -> Value:
        """Write, whatever stands there; the new record."""
        ...

    def store_add(
        self, key: str, data: bytes, *, ttl: float | None = None, holder: str | None = None
    ) -> bool:
        """Write only where nothing live stands; False changes nothing."""
        ...

    def store_swap(self, key: str, data: bytes, *, version: int, ttl: float | None = None) -> bool:
        """Write only when the live record has this version (0: none); False changes nothing."""
        ...

    def store_touch(self, key: str, *, ttl: float | None) -> bool:
        """Give a live record a new life from now, its version stays; False: there is none."""
        ...

    def store_drop(self, key: str, *, holder: str | None = None) -> bool:
        """Remove a live record (with `holder`, only that holder's); False: nothing was removed."""
        ...

    def store_incr(
        self, key: str, by: int = 1, *, limit: int | None = None, ttl: float | None = None
    ) -> int | None:
        """Add to an integer (absent is 0; decimal text) and give the sum; None when it would pass `limit`: unchanged.

        `ValueError` where something else than an integer stands.
        """
        ...

    def store_scan(self, prefix: str, *, limit: int = 1000, cursor: str = "") -> Scanned:
        """Some of the live records whose key starts with `prefix`, in any order; go on with the answer's cursor.

        What is there all the time is found at least once.  `limit` is about how many are looked at: a part may have
        more records, or none.  `reliq.ports.records` goes through all parts.
        """
        ...

    def apply(self, guards: Sequence[Guard], effects: Sequence[Effect]) -> Applied:
        """Check all guards in order, then apply the effects, in one step.

        The first refused guard refuses the whole and tells what it found.  `from_due` counts from now here.
        """
        ...

    def index_due(self, index: str, *, before: int, limit: int = 100) -> list[tuple[str, int]]:
        """Members of an ordered index at or before a moment (ms UTC), earliest first."""
        ...


def records(store: Store, prefix: str) -> Iterator[tuple[str, Value]]:
    """All live records whose key starts with `prefix`, each once, in any order; it remembers the keys it gave."""
    given: set[str] = set()
    cursor = ""
    while True:
        part = store.store_scan(prefix, cursor=cursor)
        for key, value in part.records:
            if key not in given:
                given.add(key)
                yield key, value
        cursor = part.cursor
        if not cursor:
            return
