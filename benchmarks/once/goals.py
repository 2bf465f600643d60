"""What locks may cost and leave behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from benchmarks.goals import Goal
from benchmarks.once.commands import BOTH, LOCKS, NO_LOCK, Asked


def goals() -> Iterator[Goal]:
    """A drain with a lock takes at most 15 % longer for each message, with a record as well at most 25 %."""
    yield Goal(
        "time per message of a drain, with once / without",
        "drain, time, once",
        "<=",
        1.15,
        "drain, time, plain",
    )
    yield Goal(
        "the same with once and idempotency / without", "drain, time, both", "<=", 1.25, "drain, time, plain"
    )
    yield Goal("locks left after SIGKILL", "locks left, reliq", "<=", 0)
    yield Goal("tasks never done after SIGKILL", "never done, reliq", "<=", 0)


def commands_as_wanted(found: Mapping[str, Asked]) -> Iterator[tuple[str, float, float]]:
    """What is counted, the count, and what it should be."""
    plain = len(found[NO_LOCK].settle.client)
    yield "commands of a publish without a lock", len(found[NO_LOCK].publish.client), 1
    for name in (*LOCKS, BOTH):
        if not name.startswith("debounce"):  # which looks when its burst of calls began
            yield f"commands of a publish, {name}", len(found[name].publish.client), 1
    yield "added to a settlement, until=done", len(found["until=done"].settle.client) - plain, 0
