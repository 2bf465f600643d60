"""A proxy that knows Redis' protocol: it counts the requests of all connections and cuts at one of them.

    with Cutter(server.address) as cutter: ...            # lists what is asked, in `requests`
    with Cutter(server.address, at=7, where="half") as cutter: ...

where   before   the request does not reach the server
        reply    the server has acted, nothing of its reply arrives
        half     half of the reply arrives
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import deque
from typing import Literal, TypeAlias

Where: TypeAlias = Literal["before", "reply", "half"]
WHERES: tuple[Where, ...] = ("before", "reply", "half")


class Cutter:
    """Listens on `address`; a connection is cut with a reset at both ends, once."""

    def __init__(self, target: tuple[str, int], *, at: int | None = None, where: Where = "before") -> None:
        self.target = target
        self.requests: list[str] = []
        self.fired = False
        self._at = at
        self._where = where
        self._lock = threading.Lock()
        self._links: list[_Link] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Cutter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # accept() is woken by this, not by close
        self._thread.join()
        self._listener.close()
        for link in self._links:
            link.cut()
        for link in self._links:
            link.join()

    def asked(self, request: bytes) -> Where | None:
        """Count a request; what is to happen at it."""
        with self._lock:
            self.requests.append(_name(request))
            if len(self.requests) != self._at:
                return None
            self.fired = True
            return self._where

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(self.target)
            except OSError:
                return
            self._links.append(_Link(self, client, server))


class _Link:
    """One connection and the one behind it."""

    def __init__(self, cutter: Cutter, client: socket.socket, server: socket.socket) -> None:
        self._cutter = cutter
        self._client = client
        self._server = server
        self._awaited: deque[Where | None] = deque()  # what happens at each reply that is still to come
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._up, self._down)]
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for thread in self._threads:
            thread.start()

    def cut(self) -> None:
        for end in (self._client, self._server):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RDWR)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(10)
        self._client.close()
        self._server.close()

    def _up(self) -> None:
        buffer = b""
        with contextlib.suppress(OSError):
            while data := self._client.recv(65536):
                buffer += data
                while (end := frame_end(buffer)) is not None:
                    request, buffer = buffer[:end], buffer[end:]
                    fate = self._cutter.asked(request)
                    if fate == "before":
                        return self.cut()
                    self._awaited.append(fate)
                    self._server.sendall(request)
        self.cut()

    def _down(self) -> None:
        buffer = b""
        with contextlib.suppress(OSError):
            while data := self._server.recv(65536):
                buffer += data
                while (end := frame_end(buffer)) is not None:
                    reply, buffer = buffer[:end], buffer[end:]
                    pushed = reply[:1] == b">" or not self._awaited  # what is published to a subscriber
                    fate = None if pushed else self._awaited.popleft()
                    if fate is not None:
                        if fate == "half":
                            self._client.sendall(reply[: len(reply) // 2])
                            self._client.shutdown(socket.SHUT_WR)  # a reset might overtake the bytes
                        return self.cut()
                    self._client.sendall(reply)
        self.cut()


def frame_end(data: bytes, start: int = 0) -> int | None:
    """Where the value that begins at `start` ends, in RESP2 or RESP3; None: more is to come."""
    line = data.find(b"\r\n", start)
    if line < 0:
        return None
    kind, rest, end = data[start : start + 1], data[start + 1 : line], line + 2
    if kind in b"$=!" and rest != b"-1":
        end += int(rest) + 2
        return end if end <= len(data) else None
    if kind in b"*>~%|" and rest != b"-1":
        for _ in range(int(rest) * (2 if kind in b"%|" else 1)):
            inner = frame_end(data, end)
            if inner is None:
                return None
            end = inner
        return frame_end(data, end) if kind == b"|" else end  # an attribute stands before its value
    return end


def _name(request: bytes) -> str:
    words = request.split(b"\r\n")[2:9:2]
    name = words[0].decode(errors="replace").upper()
    return f"{name} {words[1][:8].decode(errors='replace')}" if name.startswith(("EVAL", "FCALL")) else name
