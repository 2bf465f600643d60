"""Where the server is: one address, what sentinels say, or the master of the namespace's slot in a cluster.

redis-py opens the socket, speaks TLS and logs in; the socket is then ours.
"""

from __future__ import annotations

import difflib
import inspect
import re
import time
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from redis import exceptions
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection, ConnectionPool
from redis.crc import key_slot
from redis.retry import Retry

from reliq.errors import BrokerRefused, BrokerUnavailable, ConfigError

TIMEOUT = 5.0  # seconds, for connecting as for any call
_OURS = ("prefix", "wait_replicas", "wait_timeout", "allow_eviction")
_LOGIN = re.compile(
    r"WRONGPASS|NOAUTH|invalid (username|password)|Authentication|NOPERM|no password is set", re.I
)
_HUNG_UP = re.compile(r"reset by peer|closed by server|Broken pipe|Protocol Error", re.I)


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
    """One way to the server; `open` may be called again and again.  `ConfigError` for a URL that cannot be meant."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        kind, _, flavour = parts.scheme.partition("+")
        if flavour == "socket":
            kind, flavour = "unix", ""
        self.shown = shown(url)
        self.options, rest = _options(self.shown, parts.query)
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
        self._seeds = [] if kind == "unix" else _hosts(self.shown, parts.netloc)
        self._look_at_path(flavour)
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
        self._until = time.monotonic() + seconds
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
                f"Redis at {self.shown} cannot be reached: {error}; check that it runs and that the address is right"
                + self._hint(error),
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
        """The master, as the first sentinel that answers knows it; the next time another one is asked first."""
        name = self._names[0]

        def ask(connection: Any, seed: tuple[str, int]) -> tuple[str, int] | None:
            connection.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)
            found = connection.read_response()
            return None if found is None else (_text(found[0]), int(found[1]))

        host, port = self._asked("sentinel", ask, login=False, missing=f"knows a master named {name}")
        return self._at(host, port, db=self._names[1] if len(self._names) > 1 else "0")

    def _by_cluster(self) -> Any:
        """The master of our slot, asked of whoever answers; after MOVED, where that pointed."""
        if self._moved is not None:
            (host, port), self._moved = self._moved, None
            return self._at(host, port)

        def ask(connection: Any, seed: tuple[str, int]) -> tuple[str, int] | None:
            connection.send_command("CLUSTER", "SLOTS")
            try:
                return _owner_of(key_slot(self._slot.encode()), connection.read_response(), seed)
            except exceptions.ResponseError as error:
                if "cluster support disabled" in str(error):
                    raise BrokerRefused(
                        f"{self.shown}: the server is no cluster; write redis:// instead of redis+cluster://"
                    ) from error
                raise

        return self._at(*self._asked("node", ask, login=True, missing="serves our slot"))

    def _asked(
        self,
        what: str,
        ask: Callable[[Any, tuple[str, int]], tuple[str, int] | None],
        *,
        login: bool,
        missing: str,
    ) -> tuple[str, int]:
        """What the first seed says that answers; each has a share of the time, so that silent ones are passed over."""
        troubles: list[str] = []
        self._seeds.append(self._seeds.pop(0))
        for n, seed in enumerate(self._seeds):
            share = (self._until - time.monotonic()) / (len(self._seeds) - n + 1)
            asked = self._connection(self._parts_at(*seed, login=login), seconds=share)
            try:
                asked.connect()
                found = ask(asked, seed)
                if found is not None:
                    return found
                troubles.append(f"no {what} at {seed[0]}:{seed[1]} {missing}")
            except (exceptions.AuthenticationError, exceptions.NoPermissionError):
                raise
            except (exceptions.RedisError, OSError) as error:
                troubles.append(f"{seed[0]}:{seed[1]}: {error}")
            finally:
                asked.disconnect()
        raise exceptions.ConnectionError("; ".join(troubles))

    # --- connections ---

    def _at(self, host: str, port: int, db: str = "") -> Any:
        return self._connection(self._parts_at(host, port, db=db))

    def _at_seed(self) -> SplitResult:
        return self._parts_at(*self._seeds[0])

    def _parts_at(self, host: str, port: int, *, db: str = "", login: bool = True) -> SplitResult:
        user, at, _ = self._parts.netloc.rpartition("@") if login else ("", "", "")
        netloc = f"{user}{at}{f'[{host}]' if ':' in host else host}:{port}"
        return self._parts._replace(netloc=netloc, path=f"/{db}")

    def _connection(self, parts: SplitResult, *, seconds: float | None = None) -> Any:
        """Not connected yet."""
        left = self._until - time.monotonic() if seconds is None else seconds
        try:
            pool: Any = ConnectionPool.from_url(_joined(parts), **self._settings(max(0.1, left)))
            return pool.make_connection()
        except ValueError as error:
            raise ConfigError(f"{self.shown}: {error}") from error
        except TypeError as error:
            raise ConfigError(f"{self.shown}: {_misspelt(str(error))}") from error

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
        return settings


def shown(url: str) -> str:
    """The URL without its password."""
    parts = urlsplit(url)
    login, at, where = parts.netloc.rpartition("@")
    user = login.partition(":")[0]
    query = urlencode([(k, v) for k, v in parse_qsl(parts.query) if "password" not in k], safe="/")
    return _joined(parts._replace(netloc=f"{user}{':***' if at else ''}{at}{where}", query=query))


def _joined(parts: SplitResult) -> str:
    """As it is written: of a scheme that it does not know, `urlunsplit` takes the slashes of an empty host."""
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}{parts.path}{query}"


def _options(where: str, query: str) -> tuple[Options, str]:
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
        raise ConfigError(f"{where}: {error}") from error
    if not options.prefix or set(options.prefix) & set("{}: \n"):
        raise ConfigError(f"{where}: a prefix has no braces, colons or spaces and is not empty")
    return options, urlencode([(name, text) for name, text in pairs if name not in _OURS])


def _misspelt(error: str) -> str:
    """What redis-py says of an option that it does not know, with the nearest that there is."""
    found = re.search(r"keyword argument '(\w+)'", error)
    if found is None:
        return error
    known = [*_OURS, *inspect.signature(AbstractConnection.__init__).parameters]
    near = difflib.get_close_matches(found[1], known, 1)
    return f"unknown option {found[1]!r}; " + (
        f"did you mean {near[0]!r}?" if near else f"ours are {', '.join(_OURS)}"
    )


def _hosts(where: str, netloc: str) -> list[tuple[str, int]]:
    hosts = []
    for part in netloc.rpartition("@")[2].split(","):
        host, colon, port = part.rpartition(":")
        if not colon or part.endswith("]"):
            host, port = part, "6379"
        if not port.isdigit() or not 0 < int(port) < 65536:
            raise ConfigError(f"{where}: {port!r} is no port; write HOST:6379")
        hosts.append((unquote(host.strip("[]")) or "localhost", int(port)))
    return hosts


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
