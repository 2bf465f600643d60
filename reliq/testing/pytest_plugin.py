"""Fixtures for the tests of applications that use reliq."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from reliq.app import Reliq
    from reliq.testing.harness import Harness
    from reliq.testing.servers import RedisCluster, RedisServer, SentinelGroup


@pytest.fixture
def reliq_harness() -> Iterator[Callable[[Reliq], Harness]]:
    """`harness = reliq_harness(app)`: the app on a memory engine with a virtual clock, for one test."""
    from reliq.testing.harness import Harness

    with ExitStack() as stack:
        yield lambda app: stack.enter_context(Harness(app))


@pytest.fixture(scope="session")
def reliq_redis_binary() -> None:
    """Skips, or with `RELIQ_TEST_REQUIRE` fails, where there is no redis-server."""
    from reliq.testing.servers import NoServer, find_redis, lacking

    try:
        find_redis()
    except NoServer as error:
        lacking(str(error))


@pytest.fixture(scope="session")
def reliq_redis(reliq_redis_binary: None) -> Iterator[RedisServer]:
    """One Redis server for all tests of the run; who needs it empty says `reliq_redis.flush()`."""
    from reliq.testing.servers import RedisServer

    with RedisServer() as server:
        yield server


@pytest.fixture
def reliq_redis_server(reliq_redis_binary: None) -> Iterator[Callable[..., RedisServer]]:
    """`server = reliq_redis_server(appendonly="always")`: a Redis server of this test's own, started."""
    from reliq.testing.servers import RedisServer

    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(RedisServer(**options))


@pytest.fixture(scope="session")
def reliq_redis_sentinel(reliq_redis_binary: None) -> Iterator[SentinelGroup]:
    """A master, two replicas and three sentinels for all tests of the run; who disturbs them says `heal()`."""
    from reliq.testing.servers import SentinelGroup

    with SentinelGroup() as group:
        yield group


@pytest.fixture(scope="session")
def reliq_redis_cluster(reliq_redis_binary: None) -> Iterator[RedisCluster]:
    """A Redis Cluster of three masters for all tests of the run."""
    from reliq.testing.servers import RedisCluster

    with RedisCluster() as cluster:
        yield cluster
