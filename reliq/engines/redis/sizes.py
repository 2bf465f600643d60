"""How much one request takes: in messages, so that others get their turn, and in bytes."""

from __future__ import annotations

from collections.abc import Sequence

CHUNK = 1000  # messages, or settlements
# Of messages or results.  A request must arrive within its deadline, also by a slow line, and the server has a limit
# for what a client may have on its way to it (client-query-buffer-limit).
BYTES = 4 << 20


class TooMuch(Exception):
    """More than one request takes."""


def slices(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """From where to where each request goes, of things of these sizes in bytes."""
    if not sizes:
        return []
    if len(sizes) <= CHUNK and sum(sizes) <= BYTES:
        return [(0, len(sizes))]
    found, first, together = [], 0, 0
    for i, size in enumerate(sizes):
        if i > first and (i - first >= CHUNK or together + size > BYTES):
            found.append((first, i))
            first, together = i, 0
        together += size
    return [*found, (first, len(sizes))]
