"""Where the server is: one address, what sentinels say, or the master of the namespace's slot in a cluster.

redis-py opens the socket, speaks TLS and logs in; the socket is then ours.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from redis import exceptions
from redis.connection import AbstractConnection, ConnectionPool
from redis.crc import key_slot
from redis.sentinel import Sentinel

from reliq.errors import BrokerRefused, BrokerUnavailable, ConfigError

TIMEOUT = 5.0  # seconds, for connecting as for any call
_OURS = {"prefix", "wait_replicas", "wait_timeout", "allow_eviction"}
_LOGIN = re.compile(
    r"WRONGPASS|NOAUTH|invalid (username|password)|Authentication|NOPERM|no password is set", re.I
)


class Options(NamedTuple):
    """What the URL says beside the address."""

    prefix: str = "reliq"
    wait_replicas: int = 0
    wait_timeout: float = 1.0
    allow_eviction: bool = False


class Opened(NamedTuple):
    """A connection that is logged in: its socket, and the object that owns it."""

    sock: Any
    owner: Any
    tls: bool


class Endpoint:
    """One way to the server; `open` may be called again and again."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        kind, _, flavour = parts.scheme.partition("+")
        self.options, rest = _options(url, parts.query)
        self.shown = shown(url)
        self._tls = kind == "rediss"
        self._parts = parts._replace(scheme=kind, query=rest)
        self._moved: tuple[str, int] | None = None
        self._slot = ""
        self._seeds = _hosts(parts.netloc)
        self.clustered = flavour == "cluster"
        ways: dict[str, Callable[[], Any]] = {
            "": self._direct,
            "sentinel": self._by_sentinel,
            "cluster": self._by_cluster,
        }
        if flavour not in ways:
            raise ConfigError(
                f"{self.shown}: a Redis URL is redis, rediss or unix, with +sentinel or +cluster"
            )
        self._way = ways[flavour]
        self._names = [part for part in parts.path.split("/") if part]
        if flavour == "sentinel" and not self._names:
            raise ConfigError(
                f"{self.shown} must name the master: redis+sentinel://host:26379,host:26379/mymaster/0"
            )
        if flavour == "cluster" and self._names not in ([], ["0"]):
            raise ConfigError(f"{self.shown}: a cluster has database 0 only")

    def of(self, namespace: str) -> Endpoint:
        """For the keys of one namespace."""
        self._slot = namespace
        return self

    def open(self) -> Opened:
        """Connect; `BrokerUnavailable` or `BrokerRefused` says why that failed."""
        try:
            connection = self._way()
            connection.connect()
        except (
            exceptions.AuthenticationError,
            exceptions.NoPermissionError,
            exceptions.ResponseError,
        ) as error:
            raise self._refused(error) from error
        except (exceptions.RedisError, OSError) as error:
            if _LOGIN.search(str(error)):
                raise self._refused(error) from error
            raise BrokerUnavailable(
                f"Redis at {self.shown} cannot be reached: {error}; check that it runs and that the address is right",
                certain=True,
            ) from error
        return Opened(connection._sock, connection, self._tls)

    def moved(self, host: str, port: int) -> None:
        """The slot is at another node of the cluster."""
        self._moved = (host, port)

    def _refused(self, error: Exception) -> BrokerRefused:
        return BrokerRefused(
            f"Redis at {self.shown} refuses the connection: {error}; check user, password and database"
        )

    # --- the ways ---

    def _direct(self) -> Any:
        return self._connection(urlunsplit(self._parts))

    def _by_sentinel(self) -> Any:
        settings = self._settings(login=False)
        make: Any = Sentinel
        sentinel = make(self._seeds, **settings)
        host, port = sentinel.discover_master(self._names[0])
        return self._at(host, port, db=self._names[1] if len(self._names) > 1 else "0")

    def _by_cluster(self) -> Any:
        """The master of our slot, asked of whoever answers; after MOVED, where that pointed."""
        if self._moved is not None:
            (host, port), self._moved = self._moved, None
            return self._at(host, port)
        trouble: Exception | None = None
        for seed in self._seeds:
            asked = self._at(*seed)
            try:
                asked.connect()
                asked.send_command("CLUSTER", "SLOTS")
                host, port = _owner_of(key_slot(self._slot.encode()), asked.read_response(), seed)
                return self._at(host, port)
            except (exceptions.AuthenticationError, exceptions.NoPermissionError):
                raise
            except exceptions.ResponseError as error:
                if "cluster support disabled" in str(error):
                    raise BrokerRefused(
                        f"{self.shown}: the server is no cluster; write redis:// instead of redis+cluster://"
                    ) from error
                trouble = error
            except (exceptions.RedisError, OSError) as error:
                trouble = error
            finally:
                asked.disconnect()
        raise BrokerUnavailable(f"No node of the cluster {self.shown} answers: {trouble}", certain=True)

    def _at(self, host: str, port: int, db: str = "") -> Any:
        login, at, _ = self._parts.netloc.rpartition("@")
        netloc = f"{login}{at}{f'[{host}]' if ':' in host else host}:{port}"
        return self._connection(urlunsplit(self._parts._replace(netloc=netloc, path=f"/{db}")))

    def _connection(self, url: str) -> Any:
        try:
            pool: Any = ConnectionPool.from_url(url, **self._settings())
        except ValueError as error:
            raise ConfigError(f"{self.shown}: {error}") from error
        return pool.make_connection()

    def _settings(self, *, login: bool = True) -> dict[str, Any]:
        settings: dict[str, Any] = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}
        if login:
            settings |= {"protocol": 3, **_quiet()}
            if self._parts.scheme != "unix":
                settings["socket_keepalive"] = True
        elif self._tls:
            settings["ssl"] = True
        return settings


def shown(url: str) -> str:
    """The URL without its password."""
    parts = urlsplit(url)
    login, at, where = parts.netloc.rpartition("@")
    user = login.partition(":")[0]
    query = urlencode([(k, v) for k, v in parse_qsl(parts.query) if "password" not in k])
    return urlunsplit(parts._replace(netloc=f"{user}{':***' if at else ''}{at}{where}", query=query))


def _options(url: str, query: str) -> tuple[Options, str]:
    """Our part of the query, and the rest, which is redis-py's."""
    pairs = parse_qsl(query, keep_blank_values=True)
    ours = {name: text for name, text in pairs if name in _OURS}
    try:
        options = Options(
            prefix=ours.get("prefix", "reliq"),
            wait_replicas=int(ours.get("wait_replicas", 0)),
            wait_timeout=float(ours.get("wait_timeout", 1.0)),
            allow_eviction=ours.get("allow_eviction", "0").lower() in ("1", "true", "yes"),
        )
    except ValueError as error:
        raise ConfigError(f"{shown(url)}: {error}") from error
    if not options.prefix or set(options.prefix) & set("{}: \n"):
        raise ConfigError(f"{shown(url)}: a prefix has no braces, colons or spaces and is not empty")
    return options, urlencode([(name, text) for name, text in pairs if name not in _OURS])


def _hosts(netloc: str) -> list[tuple[str, int]]:
    hosts = []
    for part in netloc.rpartition("@")[2].split(","):
        host, colon, port = part.rpartition(":")
        if not colon or part.endswith("]"):
            host, port = part, ""
        hosts.append((unquote(host.strip("[]")) or "localhost", int(port) if port.isdigit() else 6379))
    return hosts


def _owner_of(slot: int, ranges: Any, seed: tuple[str, int]) -> tuple[str, int]:
    for first, last, master, *_ in ranges:
        if first <= slot <= last:
            host = master[0].decode() if isinstance(master[0], bytes) else str(master[0] or "")
            return host or seed[0], int(master[1])
    raise exceptions.ClusterDownError(f"no node serves slot {slot}")


def _quiet() -> dict[str, Any]:
    """No server's maintenance messages: newer versions of redis-py ask for them with RESP3."""
    if "maint_notifications_config" not in inspect.signature(AbstractConnection.__init__).parameters:
        return {}
    from redis.maint_notifications import MaintNotificationsConfig

    return {"maint_notifications_config": MaintNotificationsConfig(enabled=False)}
