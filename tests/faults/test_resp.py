"""The proxy that knows Redis' protocol cuts where it says."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from reliq.testing.servers import RedisServer
from tests.faults.grounds import serve_redis
from tests.faults.resp import Cutter, Where, frame_end


@pytest.mark.parametrize(
    "value",
    [
        b"+OK\r\n", b":1\r\n", b"$-1\r\n", b"$0\r\n\r\n", b"$3\r\na\r\n\r\n", b"*-1\r\n", b"*0\r\n", b"_\r\n",
        b"*2\r\n$1\r\na\r\n*1\r\n:7\r\n", b"%1\r\n+k\r\n$1\r\nv\r\n", b">2\r\n+message\r\n+x\r\n", b"-ERR no\r\n",
        b"=5\r\ntxt:a\r\n", b"|1\r\n+ttl\r\n:1\r\n:5\r\n",
    ],
)  # fmt: skip
def test_a_value_ends_where_the_protocol_says(value: bytes) -> None:
    assert frame_end(value + b"+next\r\n") == len(value)
    assert all(frame_end(value[:end]) is None for end in range(len(value)))


@pytest.fixture
def server() -> Iterator[RedisServer]:
    server = serve_redis()
    yield server
    server.close()


def ask(cutter: Cutter, *requests: bytes) -> bytes:
    """All that is answered, up to the cut."""
    heard = b""
    with closing(socket.create_connection(cutter.address, timeout=5)) as peer:
        try:
            for request in requests:
                peer.sendall(request)
                peer.settimeout(5)
                heard += peer.recv(100)
            while data := peer.recv(100):
                heard += data
        except ConnectionError:
            pass
    return heard


def incr(name: str) -> bytes:
    return f"*2\r\n$4\r\nINCR\r\n${len(name)}\r\n{name}\r\n".encode()


@pytest.mark.parametrize(
    ("where", "heard", "value"),
    [("before", b":1\r\n", "1"), ("reply", b":1\r\n", "2"), ("half", b":1\r\n:2", "2")],
)
def test_the_second_request_is_cut_once(
    server: RedisServer, where: Where, heard: bytes, value: bytes
) -> None:
    with Cutter(server.address, at=2, where=where) as cutter:
        assert ask(cutter, incr("a"), incr("a")) == heard
        assert cutter.fired
        assert server.do("GET", "a") == value
        with closing(socket.create_connection(cutter.address, timeout=5)) as peer:
            peer.sendall(incr("b") * 3)
            with peer.makefile("rb") as replies:
                assert replies.read(12) == b":1\r\n:2\r\n:3\r\n"
        assert cutter.requests == ["INCR"] * 5
