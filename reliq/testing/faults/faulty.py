"""An engine that fails when it is told to: before an operation, after it (the reply is lost), or by dying.

    Faulty(engine, at(7, "after"))          # the 7th operation happens, and its caller is not told
    Faulty(engine, seeded(42, rate=0.05))   # one in twenty operations, somehow

It stands where an engine stands, so everything above it meets the fault where a real one would appear.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from reliq.errors import BrokerUnavailable

__all__ = ["OPERATIONS", "Fault", "Faulty", "Plan", "at", "seeded"]

Fault: TypeAlias = Literal["before", "after", "die_before", "die_after"]
#: Told the number of an operation (from 1) and its name; answers which fault it meets, if any.
Plan: TypeAlias = Callable[[int, str], Fault | None]

FAULTS: tuple[Fault, ...] = ("before", "after", "die_before", "die_after")
DIED = 113  # the exit status of a process that died by plan

# Not `wake`: it never fails, and how often it is called is a matter of timing.
OPERATIONS = frozenset({
    "publish", "cancel", "get", "wait", "forget",
    "register", "claim", "held", "settle", "give_back", "renew", "bury", "reap",
    "queues", "depth", "owners", "list", "replay", "remove", "purge", "audit",
    "store_get", "store_put", "store_add", "store_swap", "store_touch", "store_drop", "store_incr", "store_scan",
    "apply", "index_due",
})  # fmt: skip


def at(number: int, fault: Fault, *, operations: frozenset[str] = OPERATIONS) -> Plan:
    """Only the `number`-th of these operations meets the fault."""
    seen = 0

    def plan(_: int, name: str) -> Fault | None:
        nonlocal seen
        seen += name in operations
        return fault if seen == number and name in operations else None

    return plan


def seeded(
    seed: int,
    *,
    rate: float = 0.1,
    faults: Sequence[Fault] = ("before", "after"),
    weights: Mapping[str, float] | None = None,
) -> Plan:
    """Each operation meets one of `faults` with the probability `rate` (by name: `weights`), by the seed."""
    dice = random.Random(seed)

    def plan(_: int, name: str) -> Fault | None:
        share = (weights or {}).get(name, rate)
        return dice.choice(faults) if dice.random() < share else None

    return plan


class Faulty:
    """Wraps an engine; `log` has the names of all operations and the fault each of them met."""

    def __init__(self, engine: Any, plan: Plan) -> None:
        self._engine = engine
        self._plan = plan
        self._lock = threading.Lock()
        self.log: list[tuple[str, Fault | None]] = []

    @property
    def faults(self) -> int:
        """How many operations have met a fault."""
        return sum(1 for _, fault in self.log if fault is not None)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._engine, name)
        if name not in OPERATIONS:
            return attribute

        def operation(*args: Any, **kwargs: Any) -> Any:
            return self._meet(name, lambda: attribute(*args, **kwargs))

        return operation

    def _meet(self, name: str, call: Callable[[], Any]) -> Any:
        with self._lock:
            number = len(self.log) + 1
            fault = self._plan(number, name)
            self.log.append((name, fault))
        if fault == "before":
            raise BrokerUnavailable(f"by plan: operation {number} ({name}) was not sent")
        if fault == "die_before":
            os._exit(DIED)
        answer = call()
        if fault == "after":
            raise BrokerUnavailable(f"by plan: the reply of operation {number} ({name}) was lost")
        if fault == "die_after":
            os._exit(DIED)
        return answer
