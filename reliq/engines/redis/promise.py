"""What the server promises to keep, read from itself; a server that may throw messages away is refused."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from reliq.engines.redis.endpoint import TIMEOUT, Endpoint
from reliq.engines.redis.link import Link, command
from reliq.engines.redis.resp import ReplyError
from reliq.errors import BrokerRefused, BrokerUnavailable

if TYPE_CHECKING:
    from reliq.engines.redis.server import Server

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
        self._clustered = endpoint.clustered
        self.words = "unknown until the server was reached"
        self.version = ""

    def check(self, link: Link) -> None:
        """`BrokerRefused` for a server that cannot be used."""
        info = _info(_ask(link, b"INFO"))
        self.version = info.get("valkey_version") or info.get("redis_version", "")
        self._check_kind(info.get("redis_mode", info.get("server_mode", "standalone")))
        policy = info.get("maxmemory_policy", "noeviction")
        if policy != "noeviction" and info.get("maxmemory", "0") != "0" and not self._options.allow_eviction:
            raise BrokerRefused(
                f"Redis at {self._where} may throw messages away when it is full (maxmemory-policy {policy}); "
                "set it to noeviction, or accept that with ?allow_eviction=1"
            )
        self.words = self._words(link, info)

    def _check_kind(self, mode: str) -> None:
        """A node of a cluster does not redirect us before it is too late; a sentinel keeps nothing at all."""
        if mode == "sentinel":
            raise BrokerRefused(f"{self._where} is a sentinel; write redis+sentinel://host:26379/mymaster")
        if mode == "cluster" and not self._clustered:
            raise BrokerRefused(
                f"{self._where} is a node of a cluster; write redis+cluster:// instead of redis://"
            )

    def writing(self, server: Server) -> Link | None:
        """With `wait_replicas`, the link that `wait_for_replicas` asks after what is written from now on."""
        return server.link(time.monotonic() + TIMEOUT) if self._options.wait_replicas else None

    def wait_for_replicas(self, server: Server, link: Link) -> None:
        """`BrokerUnavailable` when fewer than are wanted have what was written."""
        wanted = self._options.wait_replicas
        span = b"%d" % round(self._options.wait_timeout * 1000)
        try:
            # WAIT speaks of what its own connection has written; on a new one, perhaps to another master, of nothing.
            have = server.command(b"WAIT", b"%d" % wanted, span, link=link)
        except BrokerUnavailable as error:
            why = f"the connection was lost before replicas confirmed them: {error}"
        else:
            if have >= wanted:
                return
            why = f"{have} of {wanted} replicas confirmed them in {self._options.wait_timeout:g} s"
        raise BrokerUnavailable(
            f"Redis at {self._where} has the messages, but {why}; publish the same ids again to find out",
            certain=False,
        )

    def _words(self, link: Link, info: dict[str, str]) -> str:
        if info.get("aof_enabled") == "1":
            fsync = _setting(link, "appendfsync")
            words = _FSYNC.get(fsync or "", "an append-only file, whose fsync this user may not read")
        elif _setting(link, "save") != "":
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


def _setting(link: Link, name: str) -> str | None:
    """None: this user may not ask."""
    answer = _ask(link, b"CONFIG", b"GET", name.encode())
    if isinstance(answer, dict):  # RESP3; a list before
        answer = [part for pair in answer.items() for part in pair]
    if not isinstance(answer, list) or len(answer) < 2:
        return None
    value: bytes = answer[1]
    return value.decode("utf-8", "replace")


def _ask(link: Link, *parts: bytes) -> Any:
    deadline = time.monotonic() + TIMEOUT
    said: ReplyError | None = None
    while True:
        try:
            reply = link.result(link.send(command(parts), deadline), deadline)
        except BrokerUnavailable as error:
            if said is None:
                raise
            raise BrokerUnavailable(f"Redis is not ready: {said}", certain=True) from error
        if not isinstance(reply, ReplyError) or not str(reply).startswith(("LOADING", "MASTERDOWN", "BUSY")):
            return reply
        said = reply
        if time.monotonic() > deadline - 0.1:
            raise BrokerUnavailable(f"Redis is not ready: {said}", certain=True)
        time.sleep(0.05)


def _info(answer: Any) -> dict[str, str]:
    if not isinstance(answer, bytes):
        return {}  # a user that may not ask
    lines = answer.decode("utf-8", "replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)
