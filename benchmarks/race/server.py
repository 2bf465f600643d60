"""The one Redis server of a run: private, on a port of its own, without persistence, in a temporary folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from benchmarks.race.interruption import deferred
from reliq.testing.servers import RedisServer

HOST = "127.0.0.1"


class Use(NamedTuple):
    """What the server has used so far."""

    bytes: int  # sent and received
    cpu: float  # seconds of processor time


class Server:
    """A running server, and what it tells of itself."""

    def __init__(self, running: RedisServer) -> None:
        self._running = running
        self.port = running.address[1]
        self.version = str(running.binary).partition(" (")[0]

    def clear(self) -> None:
        """Forget everything, as if it had just been started."""
        self._running.flush()

    def use(self) -> Use:
        stats, cpu = self._running.info("stats"), self._running.info("cpu")
        sent = int(stats["total_net_input_bytes"]) + int(stats["total_net_output_bytes"])
        return Use(sent, float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"]))

    def memory(self) -> int:
        """Bytes."""
        return int(self._running.info("memory")["used_memory"])

    def clients(self) -> int:
        return int(self._running.info("clients")["connected_clients"])


@contextmanager
def serving() -> Iterator[Server]:
    """A server that ends with the block; `NoServer` says what to install."""
    running: RedisServer | None = None
    try:
        with deferred():
            running = RedisServer()
            running.start()
        yield Server(running)
    finally:
        if running is not None:
            running.close()
