"""Where the server is: one address, what sentinels say, or the master of the namespace's slot in a cluster.

redis-py opens the socket, speaks TLS and logs in; the socket is then ours.
"""

from __future__ import annotations

import inspect
import re
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

from redis import exceptions
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection, ConnectionPool
from redis.crc import key_slot
from redis.retry import Retry

from reliq.engines.redis.link import Link
from reliq.engines.redis.sentinels import Seed, Sentinels, is_replica
from reliq.engines.redis.url import joined, misspelt, read_options, servers, shown
from reliq.errors import BrokerRefused, BrokerUnavailable, ConfigError

TIMEOUT = 5.0  # seconds, for connecting as for any call
_WAITING = 0.9  # of the time to connect; the rest is for what is no waiting, such as to read the certificates
_PAUSE = 0.05  # seconds before the sentinels are asked again
_LOGIN = re.compile(
    r"WRONGPASS|NOAUTH|invalid (username|password)|Authentication|NOPERM|no password is set", re.I
)
_HUNG_UP = re.compile(r"reset by peer|closed by server|Broken pipe|Protocol Error", re.I)

T = TypeVar("T")


class Opened(NamedTuple):
    """A connection that is logged in: its socket, and the object that owns it."""

    sock: Any
    owner: Any
    tls: bool


class Endpoint:
    """One way to the server; `open` may be called again and again.  `ConfigError` for a URL that cannot be meant."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        kind, _, flavour = parts.scheme.partition("+")
        if flavour == "socket":
            kind, flavour = "unix", ""
        self.shown = shown(url)
        self.options, rest = read_options(self.shown, parts.query)
        self._tls = kind == "rediss"
        self._parts = parts._replace(scheme=kind, query=rest)
        self._moved: tuple[str, int] | None = None
        self._slot = ""
        self._until = 0.0
        self._names = [] if kind == "unix" else [part for part in parts.path.split("/") if part]
        self.clustered = flavour == "cluster"
        ways: dict[str, Callable[[], Any]] = {
            "": self._direct,
            "sentinel": self._by_sentinel,
            "cluster": self._by_cluster,
        }
        if flavour not in ways or kind not in ("redis", "rediss", "unix"):
            raise ConfigError(
                f"{self.shown}: a Redis URL is redis, rediss or unix, with +sentinel or +cluster"
            )
        self._way = ways[flavour]
        self._seeds = [] if kind == "unix" else servers(self.shown, parts.netloc)
        self._look_at_path(flavour)
        self._sentinels = (
            Sentinels(self._names[0], tuple(self._seeds), self._to_sentinel)
            if flavour == "sentinel"
            else None
        )
        self._connection(self._at_seed() if flavour else self._parts)  # a wrong option shows here

    def _look_at_path(self, flavour: str) -> None:
        where, names = self.shown, self._names
        if self._parts.scheme == "unix":
            if not self._parts.path.strip("/"):
                raise ConfigError(f"{where} names no socket; write unix:///path/to/redis.sock")
            return
        if flavour == "" and len(self._seeds) > 1:
            raise ConfigError(f"{where} names several servers; write redis+cluster:// or redis+sentinel://")
        if flavour == "sentinel" and not names:
            raise ConfigError(
                f"{where} must name the master: redis+sentinel://host:26379,host:26379/mymaster/0"
            )
        if flavour == "cluster" and names not in ([], ["0"]):
            raise ConfigError(f"{where}: a cluster has database 0 only")
        numbers = names[1:] if flavour == "sentinel" else names
        if len(numbers) > 1 or not all(number.isdigit() for number in numbers):
            raise ConfigError(f"{where}: a database is one number, not {'/'.join(numbers)!r}")

    def of(self, namespace: str) -> Endpoint:
        """For the keys of one namespace."""
        self._slot = namespace
        return self

    def open(self, seconds: float = TIMEOUT) -> Opened:
        """Connect; `BrokerUnavailable` or `BrokerRefused` says within `seconds` why that failed."""
        self._until = time.monotonic() + _WAITING * seconds
        try:
            connection = self._way()
            connection.connect()
        except (exceptions.RedisError, OSError) as error:
            if isinstance(error, exceptions.ResponseError) or _is_about_login(error):
                raise self._refused(error) from error
            raise BrokerUnavailable(
                f"Redis at {self.shown} cannot be reached: {error}; check that it runs and that the address is right"
                + self._hint(error),
                certain=True,
            ) from error
        return Opened(connection._sock, connection, self._tls)

    def watch(self, link: Link) -> None:
        """Break this link, which was opened last, once the sentinels name another master."""
        if self._sentinels is not None:
            self._sentinels.watch(link)

    def moved(self, host: str, port: int) -> None:
        """The slot is at another node of the cluster."""
        self._moved = (host, port)

    def _refused(self, error: Exception) -> BrokerRefused:
        return BrokerRefused(
            f"Redis at {self.shown} refuses the connection: {error}; check user, password and database"
        )

    def _hint(self, error: Exception) -> str:
        text = str(error)
        if self._tls and "certificate" not in text and "refused" not in text:
            return " (a server that does not speak TLS is redis://)"
        if self._parts.scheme == "redis" and _HUNG_UP.search(text):
            return " (a server that speaks TLS is rediss://)"
        return ""

    # --- the ways ---

    def _direct(self) -> Any:
        return self._connection(self._parts)

    def _by_sentinel(self) -> Any:
        """The master that the sentinels name; one that is still a replica, or is one again, is asked for anew."""
        assert self._sentinels is not None
        while True:
            try:
                asked = self._answers("sentinel", self._sentinels.ask, self._to_sentinel, "knows our master")
                master = self._sentinels.choose(asked)
            except exceptions.RedisError as error:
                if not _is_about_login(error):
                    raise
                raise BrokerRefused(
                    f"A sentinel of {self.shown} refuses the connection: {error}; sentinels have a login of their "
                    "own, which is ?sentinel_username= and ?sentinel_password="
                ) from error
            connection = self._at(
                master.host, master.port, db=self._names[1] if len(self._names) > 1 else "0"
            )
            connection.connect()
            if not is_replica(connection):
                return connection
            connection.disconnect()
            if time.monotonic() + _PAUSE > self._until:
                named = f"{master.host}:{master.port}"
                raise exceptions.ConnectionError(f"the sentinels name {named}, which is a replica")
            time.sleep(_PAUSE)

    def _to_sentinel(self, seed: Seed, seconds: float) -> Any:
        """Its login is its own, and it has no databases."""
        login = f"{quote(self.options.sentinel_username, safe='')}:{quote(self.options.sentinel_password, safe='')}"
        parts = self._parts_at(*seed, login="" if login == ":" else login)
        masters = ("username", "password", "db")
        query = urlencode(
            [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] not in masters]
        )
        return self._connection(parts._replace(query=query), seconds=seconds)

    def _by_cluster(self) -> Any:
        """The master of our slot, asked of whoever answers; after MOVED, where that pointed."""
        if self._moved is not None:
            (host, port), self._moved = self._moved, None
            return self._at(host, port)

        def ask(connection: Any) -> tuple[str, int]:
            connection.send_command("CLUSTER", "SLOTS")
            try:
                slots = connection.read_response()
            except exceptions.ResponseError as error:
                if "cluster support disabled" in str(error):
                    raise BrokerRefused(
                        f"{self.shown}: the server is no cluster; write redis:// instead of redis+cluster://"
                    ) from error
                raise
            return _owner_of(key_slot(self._slot.encode()), slots, connection.host)

        return self._at(*next(self._answers("node", ask, self._to_node, "serves our slot")))

    def _to_node(self, seed: Seed, seconds: float) -> Any:
        return self._connection(self._parts_at(*seed), seconds=seconds)

    def _answers(
        self,
        what: str,
        ask: Callable[[Any], T | None],
        connect: Callable[[Seed, float], Any],
        missing: str,
    ) -> Iterator[T]:
        """What those seeds say that answer; each has a share of the time, so that silent ones are passed over."""
        troubles: list[str] = []
        heard = False
        self._seeds.append(self._seeds.pop(0))
        for n, seed in enumerate(self._seeds):
            asked = connect(seed, (self._until - time.monotonic()) / (len(self._seeds) - n + 1))
            found = None
            try:
                asked.connect()
                found = ask(asked)
                if found is None:
                    troubles.append(f"no {what} at {seed[0]}:{seed[1]} {missing}")
            except (exceptions.AuthenticationError, exceptions.NoPermissionError):
                raise
            except (exceptions.RedisError, OSError) as error:
                troubles.append(f"{seed[0]}:{seed[1]}: {error}")
            finally:
                asked.disconnect()
            if found is not None:
                heard = True
                yield found
        if not heard:
            raise exceptions.ConnectionError("; ".join(troubles))

    # --- connections ---

    def _at(self, host: str, port: int, db: str = "") -> Any:
        return self._connection(self._parts_at(host, port, db=db))

    def _at_seed(self) -> SplitResult:
        return self._parts_at(*self._seeds[0])

    def _parts_at(self, host: str, port: int, *, db: str = "", login: str | None = None) -> SplitResult:
        """The URL of one server; `login` is "user:password", by default the one that the URL has."""
        who = self._parts.netloc.rpartition("@")[0] if login is None else login
        netloc = f"{who}{'@' if who else ''}{f'[{host}]' if ':' in host else host}:{port}"
        return self._parts._replace(netloc=netloc, path=f"/{db}")

    def _connection(self, parts: SplitResult, *, seconds: float | None = None) -> Any:
        """Not connected yet."""
        left = self._until - time.monotonic() if seconds is None else seconds
        try:
            pool: Any = ConnectionPool.from_url(joined(parts), **self._settings(max(0.1, left)))
            return pool.make_connection()
        except ValueError as error:
            raise ConfigError(f"{self.shown}: {error}") from error
        except TypeError as error:
            raise ConfigError(f"{self.shown}: {misspelt(str(error))}") from error

    def _settings(self, seconds: float) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "socket_timeout": seconds,
            "socket_connect_timeout": seconds,
            "retry": Retry(NoBackoff(), 0),  # whoever calls tries again, and knows for how long
            "protocol": 3,
            **_quiet(),
        }
        if self._parts.scheme != "unix":
            settings["socket_keepalive"] = True
            settings["socket_keepalive_options"] = _keepalive()
        return settings


def _keepalive() -> dict[int, int]:
    """An idle connection that was lost without a word is found out in half a minute, before it is needed.

    Of the routers in between, those that forget idle connections are reminded.
    """
    wanted = {"TCP_KEEPIDLE": 15, "TCP_KEEPALIVE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
    return {getattr(socket, name): value for name, value in wanted.items() if hasattr(socket, name)}


def _is_about_login(error: Exception) -> bool:
    """Without its first word, which some versions take away, an answer need not say so."""
    kinds = (exceptions.AuthenticationError, exceptions.NoPermissionError)
    return isinstance(error, kinds) or _LOGIN.search(str(error)) is not None


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _owner_of(slot: int, ranges: Any, seed: tuple[str, int]) -> tuple[str, int]:
    for first, last, master, *_ in ranges:
        if first <= slot <= last:
            host = _text(master[0] or "")
            return host or seed[0], int(master[1])
    raise exceptions.ClusterDownError(f"no node serves slot {slot}")


def _quiet() -> dict[str, Any]:
    """No server's maintenance messages: newer versions of redis-py ask for them with RESP3."""
    if "maint_notifications_config" not in inspect.signature(AbstractConnection.__init__).parameters:
        return {}
    from redis.maint_notifications import MaintNotificationsConfig

    return {"maint_notifications_config": MaintNotificationsConfig(enabled=False)}
