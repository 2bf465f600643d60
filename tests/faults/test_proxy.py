"""The proxy does to a connection what it says, against a small echo server."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from reliq.testing.faults import Proxy, Weather

SEED = 20260101


class EchoServer:
    """Answers every byte with itself; `heard` has what each connection that ended has sent."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        self.heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # A thread that blocks in accept() is woken by shutdown, not by close.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        heard = b""
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(65536):
                heard += data
                connection.sendall(data)
        self.heard.put(heard)


@pytest.fixture
def server() -> Iterator[EchoServer]:
    server = EchoServer()
    yield server
    server.close()


@pytest.fixture
def proxy(server: EchoServer) -> Iterator[Proxy]:
    print(f"seed {SEED}")
    with Proxy(server.address, seed=SEED) as proxy:
        yield proxy


def connect(proxy: Proxy, timeout: float = 5.0) -> socket.socket:
    return socket.create_connection(proxy.address, timeout=timeout)


def connect_and_read(client: socket.socket, proxy: Proxy) -> bytes:
    client.settimeout(5.0)
    client.connect(proxy.address)  # may be reset before it returns
    return client.recv(1)


def read(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := client.recv(size - len(data))):
        data += more
    return data


def read_until_reset(client: socket.socket) -> bytes:
    data = b""
    try:
        while more := client.recv(100):
            data += more
    except ConnectionResetError:
        return data
    raise AssertionError(f"an orderly end after {data!r}")


def test_bytes_pass_unchanged_in_fine_weather(proxy: Proxy) -> None:
    data = bytes(range(256)) * 1000
    with connect(proxy) as client:
        client.sendall(data)
        assert read(client, len(data)) == data
    assert proxy.connections == 1


def test_an_end_of_one_direction_is_passed_on(proxy: Proxy) -> None:
    with connect(proxy) as client:
        client.sendall(b"last words")
        client.shutdown(socket.SHUT_WR)
        assert read(client, 100) == b"last words"


def test_latency_delays_both_directions(proxy: Proxy) -> None:
    proxy.weather = Weather(latency=0.05, jitter=0.01)
    with connect(proxy) as client:
        begun = time.monotonic()
        client.sendall(b"x")
        assert read(client, 1) == b"x"
        assert time.monotonic() - begun >= 0.1


def test_bandwidth_is_limited(proxy: Proxy) -> None:
    proxy.weather = Weather(bandwidth=100_000)
    with connect(proxy) as client:
        begun = time.monotonic()
        client.sendall(b"x" * 10_000)
        read(client, 10_000)
        assert time.monotonic() - begun >= 0.2


def test_one_byte_pieces_arrive_as_a_whole(proxy: Proxy) -> None:
    proxy.weather = Weather(piece=1)
    with connect(proxy) as client:
        client.sendall(b"in small pieces")
        assert read(client, 15) == b"in small pieces"


def test_reset_reaches_the_client_as_a_reset(proxy: Proxy) -> None:
    with connect(proxy) as client:
        client.sendall(b"x")
        read(client, 1)
        assert proxy.reset() == 1
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_a_client_that_has_just_come_is_cut_off_too(proxy: Proxy) -> None:
    """Before anything was done for it."""
    ours, theirs = socket.socketpair()

    async def come_and_go() -> int:
        proxy._begin(theirs)
        return await proxy._reset()

    with ours:
        assert proxy._call(come_and_go()) == 1
        assert theirs.fileno() == -1
        assert ours.recv(1) == b""


def test_a_request_is_cut_after_so_many_bytes(proxy: Proxy, server: EchoServer) -> None:
    proxy.weather = Weather(cut_up=4)
    with connect(proxy) as client:
        client.sendall(b"half a request")
        assert read_until_reset(client) == b""
    assert server.heard.get(timeout=5) == b"half"


def test_a_reply_is_cut_after_so_many_bytes(proxy: Proxy) -> None:
    proxy.weather = Weather(cut_down=4)
    with connect(proxy) as client:
        client.sendall(b"half a reply")
        assert client.recv(100, socket.MSG_WAITALL) == b"half"


def test_a_held_reply_is_lost_although_the_server_acted(proxy: Proxy, server: EchoServer) -> None:
    proxy.weather = Weather(hold_reply=0.05)
    with connect(proxy) as client:
        begun = time.monotonic()
        client.sendall(b"did it")
        with pytest.raises(ConnectionResetError):
            client.recv(100)
        assert time.monotonic() - begun >= 0.05
    assert server.heard.get(timeout=5) == b"did it"


def test_a_black_hole_is_silent_and_bytes_arrive_when_it_is_over(proxy: Proxy) -> None:
    with connect(proxy, timeout=0.1) as client:
        client.sendall(b"x")
        read(client, 1)
        proxy.weather = Weather(black_hole=True)
        client.sendall(b"y")
        with pytest.raises(TimeoutError):
            client.recv(1)
        proxy.weather = Weather()
        client.settimeout(5)
        assert read(client, 1) == b"y"


def test_a_stranded_connection_is_silent_for_good_and_a_new_one_is_not(proxy: Proxy) -> None:
    with connect(proxy, timeout=0.1) as client:
        client.sendall(b"x")
        read(client, 1)
        assert proxy.strand() >= 1
        client.sendall(b"y")
        with pytest.raises(TimeoutError):
            client.recv(1)
        with connect(proxy) as fresh:
            fresh.sendall(b"z")
            assert read(fresh, 1) == b"z"


def test_refusing_refuses_and_ends(proxy: Proxy) -> None:
    proxy.weather = Weather(refuse=True)
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    proxy.weather = Weather()
    with connect(proxy) as client:
        client.sendall(b"back")
        assert read(client, 4) == b"back"


def test_an_unreachable_server_is_a_reset() -> None:
    with socket.socket() as nobody, socket.socket() as client:
        nobody.bind(("127.0.0.1", 0))
        with Proxy(nobody.getsockname(), seed=SEED) as proxy, pytest.raises(ConnectionResetError):
            connect_and_read(client, proxy)
