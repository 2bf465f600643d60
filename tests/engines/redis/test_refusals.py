"""Servers and addresses that cannot be used: refused in time, with the cause and the next step, without a secret."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reliq.engines.redis import connect
from reliq.errors import BrokerError, BrokerRefused, BrokerUnavailable, ConfigError
from reliq.testing.servers import RedisCluster, RedisServer, SentinelGroup
from tests.engines.redis.conftest import Connect, drain, publish, within
from tests.engines.redis.rules import COMMANDS, limited_to

Start = Callable[..., RedisServer]


def failure(connected: Connect, url: str, kind: type[BrokerError] = BrokerRefused) -> str:
    """What the first use of this URL says; it may not take longer than any call, and shows no password."""
    with within(), pytest.raises(kind) as failed:
        publish(connected(url))
    assert "se:cret" not in str(failed.value) and "se%3Acret" not in str(failed.value)
    return str(failed.value)


# --- logins ---


@pytest.fixture(scope="module")
def locked(reliq_redis_binary: None) -> Iterator[RedisServer]:
    with RedisServer(
        users={
            "default": "on >right ~* &* +@all",
            "other": f"on >se:cret {limited_to('other')}",
            "reader": "on >se:cret ~* &* -@all +@connection +@read",
        }
    ) as server:
        yield server


def test_a_wrong_password_is_refused(connected: Connect, locked: RedisServer) -> None:
    said = failure(connected, locked.url_for(password="se:cret"))
    assert "password" in said and str(locked.address[1]) in said


def test_a_missing_password_is_refused(connected: Connect, locked: RedisServer) -> None:
    assert "password" in failure(connected, locked.url)


def test_an_unknown_user_is_refused(connected: Connect, locked: RedisServer) -> None:
    assert "user" in failure(connected, locked.url_for(user="nobody", password="se:cret"))


def test_a_user_that_may_not_touch_our_keys_is_refused(connected: Connect, locked: RedisServer) -> None:
    said = failure(connected, locked.url_for(user="other", password="se:cret"))
    assert "NOPERM" in said or "permission" in said


def test_a_user_that_may_only_read_is_refused(connected: Connect, locked: RedisServer) -> None:
    said = failure(connected, locked.url_for(user="reader", password="se:cret"))
    assert "NOPERM" in said or "permission" in said


def test_a_user_limited_to_one_application_does_all_its_work(connected: Connect, locked: RedisServer) -> None:
    locked.do("ACL", "LOG", "RESET")
    engine = connected(locked.url_for(user="other", password="se:cret"), app="other")
    id = publish(engine)
    engine.register("owner", 30)
    assert [d.receipt.id for d in engine.claim("owner", ["q"], limit=1, seq=1, wait=0.1).deliveries] == [id]
    assert engine.claim("owner", ["q"], limit=1, seq=2, wait=0.05).deliveries == ()
    assert locked.do("ACL", "LOG") == []  # nothing was tried that is not allowed


@pytest.mark.parametrize(
    "without", ["", " -info -config"], ids=["as documented", "without INFO and CONFIG GET"]
)
def test_the_documented_user_is_enough(connected: Connect, locked: RedisServer, without: str) -> None:
    page = Path(__file__).parents[3] / "docs/how-to/use-redis.md"
    (line,) = (
        line for line in page.read_text("utf-8").splitlines() if line.startswith("ACL SETUSER shop on ")
    )
    assert line.endswith(f" -@all {COMMANDS}"), "the contract suites run with these"
    locked.do(*line.replace(">password", ">pass").split(), *without.split())
    locked.do("ACL", "LOG", "RESET")
    locked.flush()
    engine = connected(locked.url_for(user="shop", password="pass"))
    publish(engine, "m")
    engine.wait("m", 0.01)
    engine.store_put("key", b"1", ttl=5)
    assert drain(engine) == ["m"]
    assert engine.audit().balanced
    refused = [dict(zip(e[::2], e[1::2], strict=True))["object"] for e in locked.do("ACL", "LOG")]
    # What the client library says of itself may be said or not; Redis 6 has only all of CLIENT to allow.
    assert set(refused) - {"client"} <= ({"info", "config", "config|get"} if without else set())


# --- addresses ---


@pytest.mark.parametrize("db", [16, 99])
def test_a_database_that_the_server_does_not_have_is_refused(
    connected: Connect, server: RedisServer, db: int
) -> None:
    assert "database" in failure(connected, server.url_for(db=db))


def test_databases_share_nothing(connected: Connect, server: RedisServer) -> None:
    one, two = connected(server.url_for(db=1)), connected(server.url_for(db=2))
    id = publish(one)
    assert one.get(id) is not None
    assert two.get(id) is None


def test_an_address_where_nobody_listens_is_unavailable(
    connected: Connect, reliq_redis_server: Start
) -> None:
    server = reliq_redis_server()
    server.kill()
    said = failure(connected, server.url_for(password="se:cret"), BrokerUnavailable)
    assert str(server.address[1]) in said


def test_a_unix_socket_that_is_not_there_is_unavailable(
    connected: Connect, reliq_redis_server: Start
) -> None:
    server = reliq_redis_server()
    server.kill()
    assert str(server.socket) in failure(connected, server.url_for("unix"), BrokerUnavailable)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://localhost/zero", "zero"),
        ("redis://localhost:port/0", "port"),
        ("redis://localhost/0?prefx=x", "prefix"),
        ("redis://localhost/0?prefix=a%7Bb", "prefix"),
        ("redis://localhost/0?wait_replicas=two", "two|wait_replicas"),
        ("redis+sentinel://localhost:26379", "name"),
        ("redis+cluster://localhost/3", "database 0"),
        ("redis+mirror://localhost/0", r"sentinel|cluster"),
        ("unix://", "path|socket"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused_before_anything_is_sent(url: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        connect(url)


@pytest.mark.parametrize(
    "scheme", ["redis", "rediss", "unix", "redis+socket", "redis+sentinel", "redis+cluster"]
)
def test_every_scheme_leads_to_this_engine(scheme: str) -> None:
    from importlib.metadata import entry_points

    (point,) = [p for p in entry_points(group="reliq.engines") if p.name == scheme]
    assert point.load() is connect


def test_the_engines_url_shows_no_password(connected: Connect) -> None:
    engine = connected("redis://me:se%3Acret@localhost:1/0?password=se%3Acret")
    assert "cret" not in engine.url
    assert "localhost:1" in engine.url


# --- TLS ---


@pytest.fixture(scope="module")
def secure(reliq_redis_binary: None) -> Iterator[RedisServer]:
    with RedisServer(tls=True) as server:
        yield server


def test_tls_works_with_the_authority_that_signed(connected: Connect, secure: RedisServer) -> None:
    publish(connected(secure.url_for("tls")))


def test_a_certificate_of_a_stranger_is_refused(connected: Connect, secure: RedisServer) -> None:
    assert secure.tls_address
    url = f"rediss://127.0.0.1:{secure.tls_address[1]}/0"
    assert "certificate" in failure(connected, url, BrokerError)


def test_a_certificate_for_another_name_is_refused(connected: Connect, reliq_redis_server: Start) -> None:
    server = reliq_redis_server(tls=True)
    url = server.url_for("tls", address=("127.0.0.2", server.tls_address[1]))  # type: ignore[index]
    server.do("CONFIG", "GET", "port")
    with within(), pytest.raises(BrokerError):
        publish(connected(url))


@pytest.mark.usefixtures("hasty")
def test_tls_spoken_to_a_server_without_it_names_the_other_scheme(
    connected: Connect, server: RedisServer
) -> None:
    said = failure(connected, f"rediss://127.0.0.1:{server.address[1]}/0", BrokerError)
    assert "redis://" in said.replace("rediss://", "")


def test_plain_words_to_a_server_with_tls_name_the_other_scheme(
    connected: Connect, secure: RedisServer
) -> None:
    assert secure.tls_address
    said = failure(connected, f"redis://127.0.0.1:{secure.tls_address[1]}/0", BrokerError)
    assert "rediss://" in said


# --- the wrong kind of server ---


def test_a_cluster_url_for_a_single_server_names_the_right_scheme(
    connected: Connect, server: RedisServer
) -> None:
    said = failure(connected, f"redis+cluster://127.0.0.1:{server.address[1]}")
    assert "redis://" in said and "no cluster" in said


@pytest.mark.xdist_group("redis-cluster")
def test_a_single_servers_url_for_a_cluster_names_the_right_scheme(
    connected: Connect, reliq_redis_cluster: RedisCluster
) -> None:
    owner = reliq_redis_cluster.owner_of("{reliq:shop}")
    other = next(node for node in reliq_redis_cluster.nodes if node is not owner)
    assert "redis+cluster://" in failure(connected, other.url)


@pytest.mark.xdist_group("redis-sentinel")
def test_a_sentinels_address_taken_for_a_servers_says_so(
    connected: Connect, reliq_redis_sentinel: SentinelGroup
) -> None:
    said = failure(connected, reliq_redis_sentinel.sentinels[0].url, BrokerError)
    assert "sentinel" in said.lower()


@pytest.mark.xdist_group("redis-sentinel")
def test_a_master_that_no_sentinel_knows_is_named(
    connected: Connect, reliq_redis_sentinel: SentinelGroup
) -> None:
    url = reliq_redis_sentinel.url.replace("/reliq", "/unknown-name")
    assert "unknown-name" in failure(connected, url, BrokerError)


@pytest.mark.usefixtures("hasty")
def test_something_that_is_no_redis_is_unavailable_in_time(connected: Connect) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepts and says nothing
        failure(connected, f"redis://127.0.0.1:{listener.getsockname()[1]}/0", BrokerUnavailable)


# --- servers that lose or refuse ---


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "allkeys-random"])
def test_a_server_that_would_evict_is_refused_unless_forced(
    connected: Connect, reliq_redis_server: Start, policy: str
) -> None:
    server = reliq_redis_server(maxmemory=50_000_000, policy=policy)
    said = failure(connected, server.url)
    assert policy in said and "noeviction" in said and "allow_eviction=1" in said
    publish(connected(server.url_for(allow_eviction=1)))


@pytest.mark.usefixtures("hasty")
def test_a_read_only_replica_is_refused_with_its_name(connected: Connect, server: RedisServer) -> None:
    with server.replica() as replica:
        said = failure(connected, replica.url, BrokerError)
        assert str(replica.address[1]) in said
        assert "READONLY" in said or "read-only" in said or "replica" in said


@pytest.mark.parametrize(
    ("appendonly", "words"), [("always", "always"), ("everysec", "2 s"), ("no", "none on disk|restart")]
)
def test_what_the_server_promises_is_said_in_words(
    connected: Connect, reliq_redis_server: Start, appendonly: str, words: str
) -> None:
    import re

    engine = connected(reliq_redis_server(appendonly=appendonly).url)
    publish(engine)
    assert re.search(words, engine.capabilities.durability)
