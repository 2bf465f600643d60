"""The memory engine: all rules of the ports in one process, for tests, for demonstrations and as the reference.

Where to find a rule: `messages` has the moves (one place, one state, one log), `claim` the order and the charged ones,
`settle` verdicts and `on_end`, `bury` who is charged, `guards` the conditions, `reap` what time alone brings about.
"""

from __future__ import annotations

import weakref
from urllib.parse import urlsplit

from reliq.engines.memory.engine import MemoryEngine
from reliq.engines.memory.memory import Memory
from reliq.errors import ConfigError
from reliq.policy.clock import Clock, SystemClock

__all__ = ["MemoryEngine", "connect"]

# Names within the process; one lives as long as an engine that uses it.
_shared: weakref.WeakValueDictionary[str, Memory] = weakref.WeakValueDictionary()


def connect(url: str, *, app: str = "reliq", clock: Clock | None = None) -> MemoryEngine:
    """`memory://` is an engine of its own; `memory://NAME` is shared by all in this process that say the same name."""
    parts = urlsplit(url)
    if parts.scheme != "memory" or parts.path.strip("/") or parts.query:
        raise ConfigError(f"{url!r} is no address of the memory engine; write memory:// or memory://NAME")
    name = parts.netloc
    if not name:
        return MemoryEngine(Memory(clock or SystemClock()), "memory://")
    memory = _shared.get(name)
    if memory is None:
        memory = _shared[name] = Memory(clock or SystemClock())
    elif clock is not None and not _same(memory.clock, clock):
        raise ConfigError(f"memory://{name} is in use with another clock")
    return MemoryEngine(memory, f"memory://{name}")


def _same(one: Clock, other: Clock) -> bool:
    return one is other or (isinstance(one, SystemClock) and isinstance(other, SystemClock))
