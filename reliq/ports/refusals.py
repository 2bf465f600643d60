"""The errors that every engine raises in the same words."""

from __future__ import annotations

from reliq.errors import GuardRefused
from reliq.ports.values import Found


def refused_replay(id: str, found: Found) -> GuardRefused:
    """The error of a replay that a guard of `on_replay` refuses."""
    holder = found.value.holder if found.value is not None else None
    stands = f"message {holder} ({found.state or 'no record'}) holds" if holder else "something stands under"
    key = getattr(found.guard, "key", None) or getattr(found.guard, "id", "")
    return GuardRefused(
        f"Message {id} is not replayed: {stands} {key!r}, which it needs to run; replay it when that is free",
        guard=found.guard,
        found=found,
        id=id,
    )
