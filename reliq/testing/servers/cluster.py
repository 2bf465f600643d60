"""A Redis Cluster of three masters."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlencode

from reliq.testing.servers.binaries import Binary
from reliq.testing.servers.certificates import Certificates
from reliq.testing.servers.process import until
from reliq.testing.servers.single import RedisServer

__all__ = ["RedisCluster"]

_SLOTS = 16_384


class RedisCluster:
    """Three masters (by default) that share the slots evenly; seconds to start, so one cluster serves many tests.

    password    of every node
    tls         all of them speak TLS with all, of one authority; needs a binary that has it
    """

    def __init__(
        self,
        *,
        masters: int = 3,
        password: str | None = None,
        tls: bool = False,
        binary: Binary | None = None,
    ) -> None:
        settings = {"cluster-enabled": "yes", "cluster-node-timeout": "1000"}
        if tls:
            settings |= {"tls-cluster": "yes", "tls-replication": "yes"}
        self.folder = Path(tempfile.mkdtemp(prefix="reliq-"))
        self.certificates = Certificates.make(self.folder) if tls else None
        self.password = password
        self.nodes = [
            RedisServer(binary=binary, password=password, tls=self.certificates or False, settings=settings)
            for _ in range(masters)
        ]

    def __enter__(self) -> RedisCluster:
        try:
            self._form()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all nodes; twice is harmless."""
        for node in self.nodes:
            node.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def url(self) -> str:
        """`redis+cluster://HOST:PORT,HOST:PORT,HOST:PORT`."""
        login = f":{quote(self.password, safe='')}@" if self.password else ""
        hosts = ",".join(f"{host}:{port}" for host, port in (n.peer_address for n in self.nodes))
        if self.certificates is None:
            return f"redis+cluster://{login}{hosts}"
        return f"rediss+cluster://{login}{hosts}?" + urlencode({"ssl_ca_certs": self.certificates.authority})

    def flush(self) -> None:
        """Empty all nodes."""
        for node in self.nodes:
            node.flush()

    def slot_of(self, key: str) -> int:
        return int(self.nodes[0].do("CLUSTER", "KEYSLOT", key))

    def owner_of(self, key: str) -> RedisServer:
        """The node that serves the slot of this key (of all keys with its hash tag)."""
        slot = self.slot_of(key)
        for first, last, (_, _, id, *_), *_ in self.nodes[0].do("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if _id(node) == id)
        raise LookupError(f"nobody serves slot {slot}")

    def move_slot(self, key: str) -> RedisServer:
        """Give the slot of this key with all its keys to another node, its new owner; the old one then says MOVED."""
        with self.moving(key) as target:
            pass
        return target

    @contextmanager
    def moving(self, key: str) -> Iterator[RedisServer]:
        """The slot of this key is on its way to the node given, with no key moved yet; its end completes the move.

        Meanwhile its owner says ASK for keys that are not there, and TRYAGAIN where only some of several are.
        `move_key` moves single ones.
        """
        slot, source = self.slot_of(key), self.owner_of(key)
        target = next(node for node in self.nodes if node is not source)
        target.do("CLUSTER", "SETSLOT", slot, "IMPORTING", _id(source))
        source.do("CLUSTER", "SETSLOT", slot, "MIGRATING", _id(target))
        try:
            yield target
        finally:
            while keys := source.do("CLUSTER", "GETKEYSINSLOT", slot, 1000):
                for name in keys:
                    self.move_key(name, source, target)
            for node in (target, source, *self.nodes):
                node.do("CLUSTER", "SETSLOT", slot, "NODE", _id(target))

    def move_key(self, key: str, source: RedisServer, target: RedisServer) -> None:
        """Move one key of a slot that is moving."""
        login = ("AUTH", self.password) if self.password else ()
        source.do("MIGRATE", *target.peer_address, key, 0, 5000, *login)

    def _form(self) -> None:
        for node in self.nodes:
            node.start()
        share = -(-_SLOTS // len(self.nodes))
        for n, node in enumerate(self.nodes):
            node.do("CLUSTER", "ADDSLOTS", *range(n * share, min((n + 1) * share, _SLOTS)))
            node.do("CLUSTER", "SET-CONFIG-EPOCH", n + 1)
        for node in self.nodes[1:]:
            self.nodes[0].do("CLUSTER", "MEET", *node.peer_address)
        until(self._is_formed, seconds=30, what=lambda: f"no cluster: {self.nodes[0].do('CLUSTER', 'INFO')}")

    def _is_formed(self) -> bool:
        states = [str(node.do("CLUSTER", "INFO")) for node in self.nodes]
        return all(
            "cluster_state:ok" in state
            and f"cluster_known_nodes:{len(self.nodes)}" in state
            and f"cluster_slots_ok:{_SLOTS}" in state
            for state in states
        )


def _id(node: RedisServer) -> str:
    return str(node.do("CLUSTER", "MYID"))
