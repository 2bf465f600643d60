"""Brokers that are made once and emptied for each walk, which costs a fiftieth of making them."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reliq.engines import memory
from reliq.plugins import open_engine
from reliq.ports.values import Capabilities
from reliq.testing import VirtualClock
from reliq.testing.contracts.model import Model
from reliq.testing.servers import RedisServer


class Plain(Model):
    """The model of a broker, as an app uses one."""

    capabilities = Capabilities("model", engine=True)

    def close(self) -> None: ...


class Emptied:
    """`fresh()` is an empty broker, new or the old one without all it knew."""

    def __init__(self, make: Callable[[], Any], empty: Callable[[], None] | None = None) -> None:
        self._make = make
        self._empty = empty
        self._engine: Any = None

    def fresh(self) -> Any:
        """An empty one; what was given before is no longer used."""
        if self._engine is None or self._empty is None:
            self.close()
            self._engine = self._make()
        else:
            self._empty()
        return self._engine

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None


class Ground:
    """Where walks are taken: the model first, since the others are measured by it, and one clock for all."""

    def __init__(self, folder: Path, redis: RedisServer) -> None:
        file = folder / "reliq.db"
        clock = self.clock = VirtualClock()

        def open_file() -> Any:
            return open_engine(f"sqlite:///{file}?durability=off", app="walk", clock=clock)

        def open_redis() -> Any:
            redis.flush()
            return open_engine(redis.url_for("unix"), app="walk", clock=clock)

        self._brokers = {
            "model": Emptied(lambda: Plain(clock)),
            "memory": Emptied(lambda: memory.connect("memory://", clock=clock)),
            "sqlite": Emptied(open_file, lambda: empty_file(file)),
            "redis": Emptied(open_redis, redis.flush),
        }
        self.names = list(self._brokers)

    def fresh(self) -> list[Any]:
        """Empty brokers in the order of `names`."""
        return [broker.fresh() for broker in self._brokers.values()]

    def close(self) -> None:
        for broker in self._brokers.values():
            broker.close()


def empty_file(file: Path) -> None:
    """As after its creation: the books begin at nothing, too."""
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as db:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        db.execute("BEGIN IMMEDIATE")
        for name in names:
            if name != "book":
                db.execute(f"DELETE FROM {name}")
        db.execute("UPDATE book SET done = 0, failed = 0, dropped = 0, purged = 0, place = 0")
        db.execute("COMMIT")
