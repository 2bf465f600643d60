"""The store's operations: each is one script."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from reliq.engines.redis import pack
from reliq.engines.redis.server import Server
from reliq.ports.values import Applied, Scanned, Value
from reliq.wire.message import Effect, Guard

_SPECIAL = re.compile(rb"[\\*?\[\]^-]")  # to a pattern of SCAN


class RedisStore:
    """The `Store` half of the engine."""

    _server: Server

    def store_get(self, key: str) -> Value | None:
        return pack.value(self._store(b"get", key))

    def store_put(
        self, key: str, data: bytes, *, ttl: float | None = None, holder: str | None = None
    ) -> Value:
        made = pack.value(self._store(b"put", key, data, ttl, holder))
        assert made is not None
        return made

    def store_add(
        self, key: str, data: bytes, *, ttl: float | None = None, holder: str | None = None
    ) -> bool:
        return bool(self._store(b"add", key, data, ttl, holder))

    def store_swap(self, key: str, data: bytes, *, version: int, ttl: float | None = None) -> bool:
        return bool(self._store(b"swap", key, data, ttl, None, version))

    def store_touch(self, key: str, *, ttl: float | None) -> bool:
        return bool(self._store(b"touch", key, b"", ttl))

    def store_drop(self, key: str, *, holder: str | None = None) -> bool:
        return bool(self._store(b"drop", key, b"", None, holder))

    def store_incr(
        self, key: str, by: int = 1, *, limit: int | None = None, ttl: float | None = None
    ) -> int | None:
        told = self._store(b"incr", key, b"%d" % by, ttl, None, limit)
        if told == "integer":
            raise ValueError(f"The record under {key!r} is not an integer")
        if told == "large":
            raise ValueError(
                f"The sum under {key!r} would reach 2**53, from where on Redis' scripts cannot count"
            )
        return None if told is False else int(told)

    def store_scan(self, prefix: str, *, limit: int = 1000, cursor: str = "") -> Scanned:
        pattern = _SPECIAL.sub(rb"\\\g<0>", prefix.encode()) + b"*"
        told = self._server.run("store_scan", cursor.encode() or b"0", pattern, b"%d" % limit)
        after, found = pack.unpack(told)
        live = ((key, pack.value(record)) for key, record in found or ())
        records = tuple((key, value) for key, value in live if value is not None)
        return Scanned(records, "" if after == "0" else after)

    def apply(self, guards: Sequence[Guard], effects: Sequence[Effect]) -> Applied:
        told = pack.unpack(self._server.run_once("apply", pack.pack((pack.rows(guards), pack.rows(effects)))))
        if isinstance(told, int):
            return Applied(True, skipped=told)
        return Applied(False, pack.found(guards, told))

    def index_due(self, index: str, *, before: int, limit: int = 100) -> list[tuple[str, int]]:
        found = self._server.run("index_due", index.encode(), b"%d" % before, b"%d" % limit)
        return [(member.decode(), int(at)) for member, at in zip(found[::2], found[1::2], strict=True)]

    def _store(
        self,
        op: bytes,
        key: str,
        data: bytes = b"",
        ttl: float | None = None,
        holder: str | None = None,
        number: int | None = None,
    ) -> Any:
        if not 1 <= len(key) <= 512:
            raise ValueError(f"A key has 1 to 512 characters, this one has {len(key)}")
        # Records keep their bytes as text in which each character is one byte, as they come in effects.
        told = self._server.run_once(
            "store",
            op,
            key.encode(),
            data.decode("latin-1").encode(),
            b"" if ttl is None else b"%d" % math.ceil(ttl * 1000),
            (holder or "").encode(),
            b"" if number is None else b"%d" % number,
        )
        return pack.unpack(told)
