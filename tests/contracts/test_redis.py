"""The contract suites for the Redis engine: all of them by TCP, a part (with `nox -s contracts` all) by the rest.

The part is what a way to the server can change: batches that travel, replies that are pushed, calls that block, data
found again.  The rest is what scripts decide, and those are the same however one got there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module

import pytest

from reliq.policy.clock import VirtualClock
from reliq.ports.broker import Engine
from reliq.testing.contracts import BrokerContract, EngineContract, StoreContract
from reliq.testing.contracts.blocking import Blocking
from reliq.testing.contracts.burying import Burying
from reliq.testing.contracts.cancelling import Cancelling
from reliq.testing.contracts.charged import Charged
from reliq.testing.contracts.claiming import Claiming
from reliq.testing.contracts.effects import Effects
from reliq.testing.contracts.endings import Endings
from reliq.testing.contracts.fences import Fences
from reliq.testing.contracts.following import Following
from reliq.testing.contracts.guards import Guards
from reliq.testing.contracts.looking import Looking
from reliq.testing.contracts.operating import Operating
from reliq.testing.contracts.owning import Owning
from reliq.testing.contracts.publishing import Publishing
from reliq.testing.contracts.reaping import Reaping
from reliq.testing.contracts.restarting import Restarting
from reliq.testing.contracts.settling import Settling
from reliq.testing.servers import RedisCluster, RedisServer, SentinelGroup

APP = "contract"
Reopen = Callable[[], Engine]


def connect(url: str, clock: VirtualClock | None = None) -> Engine:
    engine: Engine = import_module("reliq.engines.redis").connect(url, app=APP, clock=clock)
    return engine


class RedisTests:
    """An empty server and the engine on it; a subclass says how it is reached, in `url`."""

    @pytest.fixture
    def clock(self) -> VirtualClock | None:
        return VirtualClock()

    @pytest.fixture
    def url(self, reliq_redis: RedisServer) -> str:
        reliq_redis.flush()
        return reliq_redis.url

    @pytest.fixture
    def opened(self, url: str, clock: VirtualClock | None) -> Iterator[Reopen]:
        """Connect again; the connection before is closed."""
        engines: list[Engine] = []

        def open() -> Engine:
            if engines:
                engines[-1].close()
            engines.append(connect(url, clock))
            return engines[-1]

        yield open
        for engine in engines:
            engine.close()

    @pytest.fixture
    def engine(self, opened: Reopen) -> Engine:
        return opened()

    @pytest.fixture
    def reopen(self, engine: Engine, opened: Reopen) -> Reopen:
        return opened


class TestRedis(RedisTests, BrokerContract, StoreContract, EngineContract):
    """By TCP: everything."""


class TestRedisByTheServersClock(RedisTests, Blocking):
    """Nothing looks at a clock of ours; what needs one that moves is skipped."""

    @pytest.fixture
    def opened(self, url: str) -> Iterator[Reopen]:
        engine = connect(url)
        yield lambda: engine
        engine.close()

    @pytest.fixture
    def clock(self) -> None:
        pytest.skip("the server's time cannot be moved")


class TestRedisRestarted(RedisTests, Restarting):
    """The server is killed and started again, and is empty of nothing that it had confirmed."""

    @pytest.fixture
    def server(self, reliq_redis_server: Callable[..., RedisServer]) -> RedisServer:
        return reliq_redis_server(appendonly="always")

    @pytest.fixture
    def url(self, server: RedisServer) -> str:
        return server.url

    @pytest.fixture
    def reopen(self, engine: Engine, server: RedisServer) -> Reopen:
        """The same engine: it finds its way back by itself."""

        def restart() -> Engine:
            server.kill()
            server.start()
            return engine

        return restart


# --- the other ways to the server ---


@pytest.fixture(scope="session")
def strict_server(reliq_redis_binary: None) -> Iterator[RedisServer]:
    """A password for the default user; TLS; and a user that may touch one application's keys alone."""
    from tests.engines.redis.rules import limited_to

    users = {"default": "on >p/w ~* &* +@all", "shop": f"on >se:cret {limited_to(APP)}"}
    with RedisServer(users=users, tls=True) as server:
        yield server


class OtherWays(RedisTests):
    """Not by a plain TCP connection."""

    @pytest.fixture(
        params=[
            "unix socket",
            "TLS",
            "limited user",
            pytest.param("sentinel", marks=pytest.mark.xdist_group("redis-sentinel")),
            pytest.param("cluster", marks=pytest.mark.xdist_group("redis-cluster")),
        ]
    )
    def url(self, request: pytest.FixtureRequest) -> str:
        if request.param == "sentinel":
            group: SentinelGroup = request.getfixturevalue("reliq_redis_sentinel")
            group.flush()
            return group.url
        if request.param == "cluster":
            cluster: RedisCluster = request.getfixturevalue("reliq_redis_cluster")
            cluster.flush()
            return cluster.url
        server: RedisServer = request.getfixturevalue("strict_server")
        server.flush()
        return {
            "unix socket": server.url_for("unix", password="p/w"),
            "TLS": server.url_for("tls", password="p/w"),
            "limited user": server.url_for(user="shop", password="se:cret"),
        }[request.param]


class TestRedisByOtherWays(OtherWays, Claiming, Blocking, Restarting):
    """What a way to the server can change."""


@pytest.mark.full
class TestRedisByOtherWaysInFull(
    OtherWays,
    Publishing,
    Settling,
    Charged,
    Fences,
    Following,
    Owning,
    Burying,
    Reaping,
    Cancelling,
    Looking,
    Operating,
    StoreContract,
    Guards,
    Effects,
    Endings,
):
    """The rest."""
