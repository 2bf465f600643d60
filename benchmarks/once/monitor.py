"""What a Redis server is asked by its clients, and what scripts ask it, as `MONITOR` tells.

with Monitor("127.0.0.1", 6379) as monitor:
    task.delay(7)
    seen = monitor.seen()      # of this block: seen.client is ("EVALSHA",)
"""

from __future__ import annotations

import re
import socket
from types import TracebackType
from typing import NamedTuple
from uuid import uuid4

_LINE = re.compile(rb'\+\d+\.\d+ \[\d+ (?P<who>[^\]]+)\] "(?P<command>[^"]*)"')


class Seen(NamedTuple):
    """Names of commands, in order: those of clients, and those of scripts, which MONITOR marks `lua`."""

    client: tuple[str, ...]
    lua: tuple[str, ...]


class Monitor:
    """Watches one server from the start of the block on; other clients' commands are seen as well."""

    def __init__(self, host: str, port: int, *, timeout: float = 10.0) -> None:
        self._address = (host, port)
        self._timeout = timeout

    def __enter__(self) -> Monitor:
        self._watching = socket.create_connection(self._address, self._timeout)
        self._lines = self._watching.makefile("rb")
        self._watching.sendall(b"MONITOR\r\n")
        self._expect(b"+OK")
        self._asking = socket.create_connection(self._address, self._timeout)
        self.seen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lines.close()
        self._watching.close()
        self._asking.close()

    def seen(self) -> Seen:
        """All since the last call; `TimeoutError` when the server does not answer."""
        mark = uuid4().hex.encode()
        self._asking.sendall(b"ECHO " + mark + b"\r\n")
        client: list[str] = []
        lua: list[str] = []
        while mark not in (line := self._lines.readline()):
            if not line:
                raise ConnectionError("the server closed the connection that watches it")
            found = _LINE.match(line)
            if found is None:
                raise ValueError(f"no line of MONITOR: {line!r}")
            (lua if found["who"] == b"lua" else client).append(found["command"].decode().upper())
        return Seen(tuple(client), tuple(lua))

    def _expect(self, answer: bytes) -> None:
        line = self._lines.readline()
        if line.strip() != answer:
            raise ConnectionError(f"the server answered {line!r} to MONITOR")
