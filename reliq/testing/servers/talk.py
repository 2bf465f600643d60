"""A few words of Redis' protocol, to steer a server without the client library whose use is being tested."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, TypeAlias

from reliq.errors import ReliqError

__all__ = ["Said", "Talk"]

Word: TypeAlias = str | bytes | int | float


class Said(ReliqError):
    """The server answered with an error."""


class Talk:
    """One connection to a unix socket; answers are text, numbers, None and lists of them."""

    def __init__(self, path: Path, *, user: str = "", password: str = "", seconds: float = 10.0) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(seconds)
        self._file = self._socket.makefile("rb")
        try:
            self._socket.connect(str(path))
            if password:
                self.do("AUTH", *([user] if user else []), password)
        except BaseException:
            self.close()
            raise

    def do(self, *words: Word) -> Any:
        """Send one command and give its answer; `Said` where that is an error."""
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        sent = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        self._socket.sendall(b"*%d\r\n%s" % (len(parts), sent))
        answer = self._answer()
        if isinstance(answer, Said):
            raise answer
        return answer

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def _answer(self) -> Any:
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        kind, rest = line[:1], line[1:-2].decode(errors="replace")
        if kind == b"-":
            return Said(rest)
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == "-1" else self._bulk(int(rest))
        if kind == b"*":
            return None if rest == "-1" else [self._answer() for _ in range(int(rest))]
        return rest

    def _bulk(self, size: int) -> str:
        data = self._file.read(size + 2)
        if len(data) < size + 2:
            raise ConnectionError("the server closed the connection")
        return data[:-2].decode(errors="replace")
