"""What a URL of ours says: which servers, our options, redis-py's; and what of it may be shown."""

from __future__ import annotations

import difflib
import inspect
import re
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from redis.connection import AbstractConnection

from reliq.errors import ConfigError


class Options(NamedTuple):
    """What the URL says beside the address."""

    prefix: str = "reliq"
    wait_replicas: int = 0
    wait_timeout: float = 1.0
    allow_eviction: bool = False
    sentinel_username: str = ""
    sentinel_password: str = ""


def shown(url: str) -> str:
    """The URL without its password."""
    parts = urlsplit(url)
    login, at, where = parts.netloc.rpartition("@")
    user = login.partition(":")[0]
    query = urlencode([(k, v) for k, v in parse_qsl(parts.query) if "password" not in k], safe="/")
    return joined(parts._replace(netloc=f"{user}{':***' if at else ''}{at}{where}", query=query))


def joined(parts: SplitResult) -> str:
    """As it is written: of a scheme that it does not know, `urlunsplit` takes the slashes of an empty host."""
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}{parts.path}{query}"


def read_options(where: str, query: str) -> tuple[Options, str]:
    """Our part of the query, and the rest, which is redis-py's."""
    pairs = parse_qsl(query, keep_blank_values=True)
    ours = {name: text for name, text in pairs if name in Options._fields}
    try:
        options = Options(
            prefix=ours.get("prefix", "reliq"),
            wait_replicas=int(ours.get("wait_replicas", 0)),
            wait_timeout=float(ours.get("wait_timeout", 1.0)),
            allow_eviction=ours.get("allow_eviction", "0").lower() in ("1", "true", "yes"),
            sentinel_username=ours.get("sentinel_username", ""),
            sentinel_password=ours.get("sentinel_password", ""),
        )
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error
    if not options.prefix or set(options.prefix) & set("{}: \n"):
        raise ConfigError(f"{where}: a prefix has no braces, colons or spaces and is not empty")
    return options, urlencode([(name, text) for name, text in pairs if name not in Options._fields])


def misspelt(error: str) -> str:
    """What redis-py says of an option that it does not know, with the nearest that there is."""
    found = re.search(r"keyword argument '(\w+)'", error)
    if found is None:
        return error
    known = [*Options._fields, *inspect.signature(AbstractConnection.__init__).parameters]
    near = difflib.get_close_matches(found[1], known, 1)
    return f"unknown option {found[1]!r}; " + (
        f"did you mean {near[0]!r}?" if near else f"ours are {', '.join(Options._fields)}"
    )


def servers(where: str, netloc: str) -> list[tuple[str, int]]:
    """`HOST:PORT,HOST:PORT`; the port may be left out."""
    found = []
    for part in netloc.rpartition("@")[2].split(","):
        host, colon, port = part.rpartition(":")
        if not colon or part.endswith("]"):
            host, port = part, "6379"
        if not port.isdigit() or not 0 < int(port) < 65536:
            raise ConfigError(f"{where}: {port!r} is no port; write HOST:6379")
        found.append((unquote(host.strip("[]")) or "localhost", int(port)))
    return found
