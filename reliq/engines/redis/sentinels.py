"""What sentinels say: who is the master, and from then on whether it still is.

A master that was replaced while it lives (it was slow, or cut off from the sentinels and not from us) goes on to take
writes until a sentinel reaches it, ten seconds and more, and then throws all of them away.  So who uses a master keeps
asking: https://redis.io/docs/latest/develop/reference/sentinel-clients/ (steps 1 to 3, and "Sentinel failover
disconnection", which does without the last).
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

from redis import exceptions

from reliq.engines.redis.link import Link

EVERY = 0.5  # seconds between two questions, each to another sentinel
_PATIENCE = 1.0  # seconds for a sentinel's answer

Seed: TypeAlias = tuple[str, int]
Connect: TypeAlias = Callable[[Seed, float], Any]


class Master(NamedTuple):
    """An address, and the number of the fail-over since which it is the master's: it only grows."""

    host: str
    port: int
    epoch: int


class Sentinels:
    """Those that watch the master of one name.  `connect(seed, seconds)` gives a connection that is not open yet."""

    def __init__(self, name: str, seeds: Sequence[Seed], connect: Connect) -> None:
        self.master: Master | None = None  # that was chosen last
        self._name = name
        self._seeds = seeds
        self._connect = connect

    def ask(self, connection: Any) -> Master | None:
        """What one says; None: it knows no master of this name."""
        # While it moves the replicas to a new master, this is the new one already; its table has the old one.
        found = _said(connection, "GET-MASTER-ADDR-BY-NAME", self._name)
        if found is None:
            return None
        return Master(_text(found[0]), int(found[1]), self._epoch(connection))

    def choose(self, answers: Iterable[Master]) -> Master:
        """The first answer that is no older than the last one chosen; where all are older, the newest of them."""
        best: Master | None = None
        for answer in answers:
            if best is None or answer.epoch > best.epoch:
                best = answer
            if self.master is None or best.epoch >= self.master.epoch:
                break
        assert best is not None, "whoever asks raises when nobody answers"
        self.master = best
        return best

    def watch(self, link: Link) -> None:
        """Break this link, which leads to the master chosen last, once the sentinels name another one."""
        assert self.master is not None
        with contextlib.suppress(RuntimeError):  # the interpreter is ending and starts no threads
            # It may not keep alive what nobody uses any more.
            told = (weakref.ref(link), self.master)
            threading.Thread(target=self._watch, args=told, name="reliq-redis-sentinel", daemon=True).start()

    def _watch(self, watched: weakref.ref[Link], master: Master) -> None:
        pause = threading.Event()
        connections: dict[Seed, Any] = {}
        said: dict[Seed, Seed] = {}
        try:
            for seed in itertools.cycle(self._seeds):
                pause.wait(EVERY)
                link = watched()
                if link is None or link.broken is not None:
                    return
                del link
                another = self._other(seed, master, connections, said)
                if another and (link := watched()) is not None:
                    link.close(f"the sentinels name another master, {another[0]}:{another[1]}")
                    return
        finally:
            for connection in connections.values():
                connection.disconnect()

    def _other(
        self, seed: Seed, master: Master, connections: dict[Seed, Any], said: dict[Seed, Seed]
    ) -> Seed | None:
        """The master now, if this sentinel knows of a later fail-over, or all agree that it is another one."""
        try:
            if seed not in connections:
                connections[seed] = self._connect(seed, _PATIENCE)
            connections[seed].connect()
            found = _said(connections[seed], "GET-MASTER-ADDR-BY-NAME", self._name)
            if found is None:
                said.pop(seed, None)
                return None
            said[seed] = named = (_text(found[0]), int(found[1]))
            if named == (master.host, master.port):
                return None
            later = self._epoch(connections[seed]) > master.epoch
        except (exceptions.RedisError, OSError):
            said.pop(seed, None)
            if (connection := connections.pop(seed, None)) is not None:
                connection.disconnect()
            return None
        # Numbers begin anew where sentinels were set up anew.
        agreed = len(said) == len(self._seeds) and set(said.values()) == {named}
        return named if later or agreed else None

    def _epoch(self, connection: Any) -> int:
        try:
            told = _said(connection, "MASTER", self._name)
        except exceptions.ResponseError:  # what speaks for sentinels need not keep their whole table
            return 0
        if isinstance(told, dict):  # RESP3; a list before
            told = [part for pair in told.items() for part in pair]
        fields = dict(zip(map(_text, told[::2]), map(_text, told[1::2]), strict=False))
        return int(fields.get("config-epoch", 0))


def is_replica(connection: Any) -> bool:
    """What the server said of itself when it was greeted."""
    told = {_text(key): value for key, value in (connection.handshake_metadata or {}).items()}
    return _text(told.get("role", "")) in ("replica", "slave")


def _said(connection: Any, *words: str) -> Any:
    connection.send_command("SENTINEL", *words)
    return connection.read_response()


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
