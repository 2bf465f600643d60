"""The Redis engine: all rules of the ports as scripts on one server (or cluster slot) that many hosts share.

Where to find a rule: `lua/` has a script for each operation and `lua/lib/` what they share (`moves` where a message
is, `settle` verdicts, `finish` what an ending frees, `bury` who is charged, `ready` what time alone brings about,
`wake` how an idle worker hears of work).  `keys` has the names, `pack` what the scripts are given, `link` the
connection.
"""

from __future__ import annotations

from reliq.engines.redis.endpoint import Endpoint
from reliq.engines.redis.engine import RedisEngine
from reliq.engines.redis.keys import namespace
from reliq.policy.clock import Clock, SystemClock

__all__ = ["RedisEngine", "connect"]


def connect(url: str, *, app: str = "reliq", clock: Clock | None = None) -> RedisEngine:
    """`redis://host:6379/0`, `rediss://`, `unix:///path`, `redis+sentinel://host,host/master/0`, `redis+cluster://host,host`.

    `?prefix=` names the keys' prefix, `?wait_replicas=N` makes a publish wait until N replicas have it,
    `?allow_eviction=1` accepts a server that may throw messages away.  Nothing is sent before the first use.
    """
    endpoint = Endpoint(url)
    space = namespace(app, endpoint.options.prefix)
    return RedisEngine(endpoint.of(space), space, clock or SystemClock())
