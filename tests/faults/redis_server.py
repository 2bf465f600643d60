"""A Redis server of one test: on a random loopback port, in a temporary folder, ended by its process."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest


class RedisServer:
    """Started at once; `settings` are redis.conf's, underscores for hyphens."""

    def __init__(
        self, folder: Path, *, environment: Mapping[str, str] | None = None, **settings: str
    ) -> None:
        found = shutil.which("redis-server")
        if found is None:
            lacking = pytest.fail if os.environ.get("RELIQ_TEST_REQUIRE") else pytest.skip
            lacking("there is no redis-server on the PATH")
        self._command = str(found)
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.address = ("127.0.0.1", _free_port())
        self._environment = {**os.environ, **(environment or {})}
        self._settings = {"save": "", "appendonly": "no", **settings}
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://{self.address[0]}:{self.address[1]}/0"

    def start(self) -> None:
        """Start it (again, on the same port and files) and wait until it answers."""
        settings = {
            "port": str(self.address[1]),
            "bind": self.address[0],
            "dir": str(self.folder),
            **self._settings,
        }
        pairs = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", value)]
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                [self._command, *pairs], stdout=log, stderr=log, env=self._environment
            )
        until = time.monotonic() + 20
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < until, "the server does not answer"
            time.sleep(0.01)

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=10)
            self._process = None

    close = kill

    def client(self) -> Any:
        """A plain client, to look and to set."""
        import redis

        return redis.Redis(host=self.address[0], port=self.address[1])

    @property
    def append_only_file(self) -> Path:
        """The part that is being written."""
        return max((self.folder / "appendonlydir").glob("*.incr.aof"), key=lambda path: path.stat().st_mtime)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(self.address, timeout=1) as peer:
                peer.sendall(b"PING\r\n")
                return peer.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
