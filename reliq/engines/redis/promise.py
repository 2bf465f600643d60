"""What the server promises to keep, read from itself; a server that may throw messages away is refused."""

from __future__ import annotations

import time
from typing import Any

from reliq.engines.redis.endpoint import TIMEOUT, Endpoint
from reliq.engines.redis.link import Link, command
from reliq.engines.redis.resp import ReplyError
from reliq.errors import BrokerRefused, BrokerUnavailable

_FSYNC = {
    "always": "what is confirmed is on the disk (AOF, fsync always)",
    "everysec": "a crash of the server may take the last 2 s (AOF, fsync every second)",
    "no": "a crash of the machine may take the last half minute (AOF, fsync left to the system)",
}


class Promise:
    """Checked for each new connection."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._where = endpoint.shown
        self._options = endpoint.options
        self.words = "unknown until the server was reached"
        self.version = ""

    def check(self, link: Link) -> None:
        """`BrokerRefused` for a server that cannot be used."""
        info = _info(_ask(link, b"INFO"))
        self.version = info.get("valkey_version") or info.get("redis_version", "")
        policy = info.get("maxmemory_policy", "noeviction")
        if policy != "noeviction" and info.get("maxmemory", "0") != "0" and not self._options.allow_eviction:
            raise BrokerRefused(
                f"Redis at {self._where} may throw messages away when it is full (maxmemory-policy {policy}); "
                "set it to noeviction, or accept that with ?allow_eviction=1"
            )
        self.words = self._words(link, info)

    def wait_for_replicas(self, server: Any) -> None:
        """With `wait_replicas`: `BrokerUnavailable` when fewer have what was written."""
        wanted = self._options.wait_replicas
        if not wanted:
            return
        span = b"%d" % round(self._options.wait_timeout * 1000)
        have = server.command(b"WAIT", b"%d" % wanted, span)
        if have < wanted:
            raise BrokerUnavailable(
                f"Redis at {self._where} has the messages, but {have} of {wanted} replicas confirmed them in "
                f"{self._options.wait_timeout:g} s; publish the same ids again to find out"
            )

    def _words(self, link: Link, info: dict[str, str]) -> str:
        if info.get("aof_enabled") == "1":
            answer = _ask(link, b"CONFIG", b"GET", b"appendfsync")
            fsync = answer[1].decode() if isinstance(answer, list) and len(answer) > 1 else ""
            words = _FSYNC.get(fsync, "an append-only file, whose fsync this user may not read")
        elif info.get("rdb_last_save_time") and _saves(_ask(link, b"CONFIG", b"GET", b"save")):
            words = "a crash of the server takes all since the last snapshot (no AOF)"
        else:
            words = "none on disk: a restart of the server takes everything"
        replicas = info.get("connected_slaves", "0")
        if replicas != "0":
            waits = (
                f", {self._options.wait_replicas} waited for"
                if self._options.wait_replicas
                else ", not waited for"
            )
            words += f"; {replicas} replicas{waits}"
        return words


def _saves(answer: Any) -> bool:
    return not isinstance(answer, list) or (len(answer) > 1 and answer[1] != b"")


def _ask(link: Link, *parts: bytes) -> Any:
    deadline = time.monotonic() + TIMEOUT
    reply = link.result(link.send(command(parts), deadline), deadline)
    while isinstance(reply, ReplyError) and str(reply).startswith(("LOADING", "MASTERDOWN")):
        if time.monotonic() > deadline - 0.1:
            raise BrokerUnavailable(f"Redis is not ready: {reply}", certain=True)
        time.sleep(0.05)
        reply = link.result(link.send(command(parts), deadline), deadline)
    return reply


def _info(answer: Any) -> dict[str, str]:
    if not isinstance(answer, bytes):
        return {}  # a user that may not ask
    lines = answer.decode("utf-8", "replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)
