"""Reads the server's replies: hiredis where it is installed, else the same in Python.

Replies are bytes, integers, None and lists; an error is a value, an `Exception` whose text is the server's; what the
server sends by itself is a `Push`.  (RESP3, https://redis.io/docs/latest/develop/reference/protocol-spec/)
"""

from __future__ import annotations

from typing import Any, Protocol


class ReplyError(Exception):
    """An error that the server answered."""


class Push(list[Any]):
    """What the server sends without being asked."""


class Incomplete:
    """There is no whole reply yet."""


INCOMPLETE = Incomplete()


class Reader(Protocol):
    def feed(self, data: bytes) -> None: ...

    def gets(self) -> Any:
        """The next reply, or `INCOMPLETE`."""
        ...


def reader() -> Reader:
    """A reader for one connection."""
    try:
        import hiredis
    except ImportError:
        return PythonReader()
    made: Reader = hiredis.Reader(replyError=ReplyError, protocolError=ReplyError, notEnoughData=INCOMPLETE)
    return made


def is_push(reply: Any) -> bool:
    return isinstance(reply, list) and type(reply) is not list


class PythonReader:
    """Without hiredis; a reply is parsed once all of it has come."""

    def __init__(self) -> None:
        self._data = b""
        self._at = 0

    def feed(self, data: bytes) -> None:
        self._data = self._data[self._at :] + data
        self._at = 0

    def gets(self) -> Any:
        begin = self._at
        try:
            return self._parse()
        except _TooShortError:
            self._at = begin
            return INCOMPLETE

    def _line(self) -> bytes:
        end = self._data.find(b"\r\n", self._at)
        if end < 0:
            raise _TooShortError
        line = self._data[self._at : end]
        self._at = end + 2
        return line

    def _bytes(self, size: int) -> bytes:
        end = self._at + size
        if len(self._data) < end + 2:
            raise _TooShortError
        data = self._data[self._at : end]
        self._at = end + 2
        return data

    def _parse(self) -> Any:
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind in b"$=":
            size = int(rest)
            return None if size < 0 else self._bytes(size)
        if kind == b"!":
            return ReplyError(self._bytes(int(rest)).decode("utf-8", "replace"))
        if kind == b"+" or kind == b"(":
            return rest
        if kind == b"-":
            return ReplyError(rest.decode("utf-8", "replace"))
        if kind == b":":
            return int(rest)
        if kind == b"_":
            return None
        if kind == b"#":
            return rest == b"t"
        if kind == b",":
            return float(rest)
        if kind in b"*~>":
            size = int(rest)
            items = None if size < 0 else [self._parse() for _ in range(size)]
            return Push(items or ()) if kind == b">" else items
        if kind in b"%|":
            return [self._parse() for _ in range(2 * int(rest))]
        raise ReplyError(f"no reply of Redis begins with {line[:20]!r}")


class _TooShortError(Exception):
    pass
