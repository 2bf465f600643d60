"""A Redis Cluster of three masters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from reliq.testing.servers.binaries import Binary
from reliq.testing.servers.process import until
from reliq.testing.servers.single import RedisServer

__all__ = ["RedisCluster"]

_SLOTS = 16_384


class RedisCluster:
    """Three masters (by default) that share the slots evenly; seconds to start, so one cluster serves many tests."""

    def __init__(self, *, masters: int = 3, binary: Binary | None = None) -> None:
        settings = {"cluster-enabled": "yes", "cluster-node-timeout": "1000"}
        self.nodes = [RedisServer(binary=binary, settings=settings) for _ in range(masters)]

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

    @property
    def url(self) -> str:
        """`redis+cluster://HOST:PORT,HOST:PORT,HOST:PORT`."""
        return "redis+cluster://" + ",".join(
            f"{host}:{port}" for host, port in (n.address for n in self.nodes)
        )

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
        source.do("MIGRATE", *target.address, key, 0, 5000)

    def _form(self) -> None:
        for node in self.nodes:
            node.start()
        share = -(-_SLOTS // len(self.nodes))
        for n, node in enumerate(self.nodes):
            node.do("CLUSTER", "ADDSLOTS", *range(n * share, min((n + 1) * share, _SLOTS)))
            node.do("CLUSTER", "SET-CONFIG-EPOCH", n + 1)
        for node in self.nodes[1:]:
            self.nodes[0].do("CLUSTER", "MEET", *node.address)
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
