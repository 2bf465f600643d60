"""The memory engine of the test process, reached by other processes through a Unix socket.

The test sees and changes the same engine, and can make outages: `server.down()` refuses and cuts connections.
"""

from __future__ import annotations

import contextlib
import pickle
import socket
import struct
import threading
from typing import Any

from reliq.engines.memory import connect
from reliq.errors import BrokerUnavailable

_CALLS = {"publish", "cancel", "get", "wait", "register", "claim", "held", "settle", "give_back", "renew"}
_CALLS |= {"wake", "bury", "reap", "owners", "depth", "audit", "list"}


class Server:
    """Serves one memory engine; a thread for each connection."""

    def __init__(self, path: str) -> None:
        self.engine = connect("memory://")
        self.path = path
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.lose: dict[
            str, int
        ] = {}  # how many replies of a method are to be lost after the call took effect
        self._connections: set[socket.socket] = set()
        self._down = False
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def down(self) -> None:
        self._down = True
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def up(self) -> None:
        self._down = False

    def close(self) -> None:
        self.down()
        self._listener.close()
        self.engine.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        self._connections.add(connection)
        with connection, contextlib.suppress(OSError, EOFError):
            while not self._down:
                name, args, kwargs = _receive(connection)
                if self._down:
                    return
                try:
                    answer: Any = (True, getattr(self.engine, name)(*args, **kwargs))
                except Exception as error:
                    answer = (False, error)
                self.calls.append((name, args))
                if self.lose.get(name, 0) > 0:
                    self.lose[name] -= 1
                    return
                _send(connection, answer)
        self._connections.discard(connection)


class RemoteEngine:
    """The client: one connection for each thread; anything wrong with it is `BrokerUnavailable`."""

    def __init__(self, path: str) -> None:
        self.url = f"remote://{path}"
        self.capabilities = connect("memory://").capabilities
        self._path = path
        self._local = threading.local()

    def __getattr__(self, name: str) -> Any:
        if name not in _CALLS:
            raise AttributeError(name)

        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                connection = getattr(self._local, "connection", None)
                if connection is None:
                    connection = socket.socket(socket.AF_UNIX)
                    connection.connect(self._path)
                    self._local.connection = connection
                _send(connection, (name, args, kwargs))
                ok, answer = _receive(connection)
            except (OSError, EOFError) as error:
                self._local.connection = None
                connection.close()
                raise BrokerUnavailable(f"{self.url}: {error}") from error
            if not ok:
                raise answer
            return answer

        return call

    def close(self) -> None:
        pass


def _send(connection: socket.socket, value: Any) -> None:
    data = pickle.dumps(value)
    connection.sendall(struct.pack("!I", len(data)) + data)


def _receive(connection: socket.socket) -> Any:
    (size,) = struct.unpack("!I", _exactly(connection, 4))
    return pickle.loads(_exactly(connection, size))


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise EOFError("the connection was cut")
        data += part
    return data
