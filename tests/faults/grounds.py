"""What a fault test stands on: the broker itself, with what can be done to it from below."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import pytest

from reliq.engines.redis.keys import namespace
from reliq.testing.servers import NoServer, RedisServer, lacking

ENGINES = {point.name for point in entry_points(group="reliq.engines")}

Change: TypeAlias = Callable[[bytes], bytes]

PAYLOADS = namespace("faults") + "payload"


class Ground(Protocol):
    """A broker that one test has for itself."""

    name: str
    url: str

    def check(self) -> None:
        """Whatever the server or the file can say about its own soundness."""

    def damage(self, changes: Mapping[str, Change]) -> None:
        """Change the bytes of these waiting messages where they lie."""

    def close(self) -> None: ...


class SqliteGround:
    """A file."""

    name = "sqlite"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"

    def check(self) -> None:
        with closing(sqlite3.connect(self.path)) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    def damage(self, changes: Mapping[str, Change]) -> None:
        with closing(sqlite3.connect(self.path, timeout=10)) as db, db:
            for id, change in changes.items():
                (payload,) = db.execute("SELECT payload FROM message WHERE id = ?", (id,)).fetchone()
                db.execute("UPDATE message SET payload = ? WHERE id = ?", (change(bytes(payload)), id))

    def close(self) -> None:
        pass


class RedisGround:
    """A server of its own."""

    name = "redis"

    def __init__(self, **options: Any) -> None:
        if "redis" not in ENGINES:
            pytest.skip("the Redis engine is not installed")
        self.server = serve_redis(**options)
        self.url = self.server.url

    def check(self) -> None:
        assert self.server.do("PING") == "PONG"

    def damage(self, changes: Mapping[str, Change]) -> None:
        from redis import Redis

        with Redis.from_url(self.url) as client:
            for id, change in changes.items():
                payload = client.hget(PAYLOADS, id)
                assert payload is not None
                client.hset(PAYLOADS, id, change(payload))

    def close(self) -> None:
        self.server.close()


def serve_redis(**options: Any) -> RedisServer:
    """A server that runs; without a binary the test is skipped, or fails where everything must be there."""
    try:
        server = RedisServer(**options)
    except NoServer as error:
        lacking(str(error))
    server.start()
    return server


def lay(name: str, folder: Path) -> Ground:
    """The ground of this name, fresh."""
    return SqliteGround(folder / "faults.sqlite3") if name == "sqlite" else RedisGround()
