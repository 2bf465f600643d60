"""Which tests reach which expression of the scripts: a test that does not reach a mutant cannot kill it.

The tests are run once with scripts that log each expression on the server, with what it came to.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from reliq.engines.redis import scripts
from reliq.testing.servers import RedisServer
from tests.mutants.lua import REACH, Mutant, watched

_LINE = re.compile(rb"reached (\S+ (?:true|false))")
_PATIENCE = 10


@dataclass(frozen=True, slots=True)
class Reach:
    """seconds  how long each test took, by its id
    places      what it reached, "place true" or "place false"
    """

    seconds: dict[str, float] = field(default_factory=dict)
    places: dict[str, list[str]] = field(default_factory=dict)

    def __or__(self, other: Reach) -> Reach:
        return Reach(self.seconds | other.seconds, self.places | other.places)

    def tests_of(self, mutant: Mutant) -> list[str]:
        """Those that can feel it, the quick ones first."""
        keys = {f"{mutant.place} {'true' if truth else 'false'}" for truth in mutant.truths}
        found = [test for test, places in self.places.items() if keys & set(places)]
        return sorted(found, key=lambda test: self.seconds[test])


class Kept:
    """A file that has what tests reached the last time: good for the same scripts and the same text of a test."""

    def __init__(self, path: Path | None, lua: Path) -> None:
        self._path = path
        self._scripts = "".join(file.read_text("utf-8") for file in sorted(lua.rglob("*.lua")))
        self._found: dict[str, Any] = {}
        self._keys: dict[str, str] = {}  # by test
        if path is not None and path.exists():
            self._found = json.loads(path.read_text("utf-8"))

    def split(self, items: Sequence[pytest.Item]) -> tuple[Reach, list[pytest.Item]]:
        """What is known, and the tests of which nothing is."""
        reach, unknown = Reach(), []
        self._keys = {item.nodeid: self._key(item) for item in items}
        for item in items:
            known = self._found.get(self._keys[item.nodeid])
            if known is None:
                unknown.append(item)
            else:
                reach.seconds[item.nodeid], reach.places[item.nodeid] = known
        return reach, unknown

    def write(self, reach: Reach) -> None:
        """Keep what is known now."""
        if self._path is not None:
            found = {self._keys[id]: (reach.seconds[id], places) for id, places in reach.places.items()}
            self._path.write_text(json.dumps(found), "utf-8")

    def _key(self, item: pytest.Item) -> str:
        text = inspect.getsource(item.function)  # type: ignore[attr-defined]
        return hashlib.sha256(f"{item.nodeid}\n{text}\n{self._scripts}".encode()).hexdigest()


def record(items: Sequence[pytest.Item], server: RedisServer, run: Callable[[pytest.Item], str]) -> Reach:
    """Run each of these; `run` gives how it failed, '' for not at all.  `RuntimeError` for a test that fails."""
    reach = Reach()
    whole = scripts.source_of
    scripts.source_of = lambda name: ("" if name.startswith("lib/") else REACH) + watched(name, whole(name))
    scripts.script.cache_clear()
    with _servers_of_their_own() as others:
        read = 0
        for item in items:
            begun = time.monotonic()
            failed = run(item)
            if failed:
                raise RuntimeError(f"{item.nodeid} fails without any mutant: {failed}")
            reach.seconds[item.nodeid] = time.monotonic() - begun
            told, read = _told(server, read)
            told += b"".join(other.log.read_bytes() for other in others if other.log.exists())
            reach.places[item.nodeid] = sorted({found.decode() for found in _LINE.findall(told)})
            for other in others:
                other.log.unlink(missing_ok=True)
            others.clear()
    return reach


def _told(server: RedisServer, read: int) -> tuple[bytes, int]:
    """What the server has logged beyond `read` bytes, to this moment."""
    server.do("EVAL", "redis.log(redis.LOG_WARNING, 'up to here')", 0)
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        told = server.log.read_bytes()[read:]
        if told.rstrip().endswith(b"up to here"):
            return told, read + len(told)
        time.sleep(0.001)
    raise RuntimeError("the server's log ends too early")


@contextmanager
def _servers_of_their_own() -> Iterator[list[RedisServer]]:
    """Servers that are made meanwhile; their logs outlive them."""
    made: list[RedisServer] = []
    init = RedisServer.__init__

    def noted(self: RedisServer, **options: Any) -> None:
        init(self, **options)
        self.log = self.folder.with_name(self.folder.name + "-log")
        made.append(self)

    RedisServer.__init__ = noted  # type: ignore[method-assign]
    try:
        yield made
    finally:
        RedisServer.__init__ = init  # type: ignore[method-assign]
