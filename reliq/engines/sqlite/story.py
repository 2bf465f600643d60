"""The last transitions of a message.

A message that is published, claimed and done is told by its columns alone, so the common way writes no history.  What
the columns are about to forget (a lease that ended without an ending) is put into the `history` blob first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from reliq.ports.values import Transition

if TYPE_CHECKING:
    from reliq.engines.sqlite.rows import Row

KEPT = 16
_NAMES = ("ready", "ready", "due", "leased", "done", "failed", "dropped")
_decoder = msgspec.msgpack.Decoder(list[Transition])
_encoder = msgspec.msgpack.Encoder()


class Story:
    """The story of one row: what the blob tells, then what the columns tell."""

    def __init__(self, row: Row) -> None:
        self._row = row

    def transitions(self) -> tuple[Transition, ...]:
        return tuple(self._all()[-KEPT:])

    def with_step(
        self,
        at: int,
        to: str,
        reason: str | None,
        *,
        attempt: int,
        due: int | None = None,
        error: bytes | None = None,
        by: str | None = "",
    ) -> bytes:
        """The blob that tells all of it and one step more, made `by` whoever held the message unless it is said."""
        row = self._row
        steps = self._all()
        owner = row.owner_name if by == "" else by
        steps.append(Transition(at, to, reason, owner, attempt, row.fence, due, error))
        return _encoder.encode(steps[-KEPT:])

    def without_errors(self) -> bytes | None:
        """The blob as it is once all errors are forgotten."""
        if self._row.history is None:
            return None
        return _encoder.encode([replace(step, error=None) for step in _decoder.decode(self._row.history)])

    def _all(self) -> list[Transition]:
        row = self._row
        if row.history is not None:
            steps = _decoder.decode(row.history)
        else:
            delayed = row.due > row.published
            steps = [
                Transition(row.published, "due" if delayed else "ready", due=row.due if delayed else None)
            ]
        fence = steps[-1].fence
        if row.promoted is not None:
            # The attempt of the step before: a promotion changes none.
            steps.append(Transition(row.promoted, "ready", attempt=steps[-1].attempt, fence=fence))
        if row.claimed is not None:
            steps.append(
                Transition(row.claimed, "leased", owner=row.owner_name, attempt=row.attempt, fence=row.fence)
            )
        if row.ended is not None:
            held_by = row.owner_name if row.claimed is not None else None
            error = row.error if row.erred else None
            steps.append(
                Transition(
                    row.ended, _NAMES[row.state], row.reason, held_by, row.attempt, row.fence, None, error
                )
            )
        return steps
