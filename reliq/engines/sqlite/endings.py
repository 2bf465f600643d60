"""What ends a message frees what it holds: the one place where a message ends, but for the plain `done` of `settle`."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from reliq.engines.sqlite.connection import Step
from reliq.engines.sqlite.effects import apply_effects
from reliq.engines.sqlite.insert import insert
from reliq.engines.sqlite.rows import CODES, Row
from reliq.errors import UndecodableMessage
from reliq.wire.codec import decode_endings, encode
from reliq.wire.message import Effect, Envelope, FollowUp
from reliq.wire.splice import splice

_END = """UPDATE message SET state = ?, reason = ?, value = ?, error = ?, erred = ?, settled = ?, ended = ?, gone = ?,
  claim = NULL WHERE seq = ?"""


class Endings:
    """The endings of one transaction.  Whoever calls `end` calls `finish` before the step is over."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._pending: deque[tuple[Row, str, bytes | None]] = deque()

    def end(
        self,
        row: Row,
        kind: str,
        reason: str | None,
        *,
        value: bytes | None = None,
        error: bytes | None = None,
        settled: int | None = None,
    ) -> None:
        """A live message ends as `kind`; its `on_end` is applied by `finish`."""
        step = self._step
        step.execute(
            _END,
            (
                CODES[kind],
                reason,
                value if row.keep_result else None,
                error if error is not None or kind == "done" else row.error,
                error is not None,
                row.settled if settled is None else settled,
                step.now,
                step.now + (row.keep_failed if kind == "failed" else row.keep),
                row.seq,
            ),
        )
        if kind == "done":
            step.done += 1
        elif kind == "failed":
            step.failed += 1
        else:
            step.dropped += 1
        step.ended.append(row.id)
        if row.on_end is not None:
            self._pending.append((row, kind, value))

    def apply(self, effects: Sequence[Effect], due: int) -> int:
        """Effects of this step; how many were skipped."""
        return apply_effects(self._step, effects, due, self) if effects else 0

    def follow(self, follow_ups: Sequence[FollowUp], parent: str, result: bytes | None) -> None:
        """Publish what follows, but for what was published before.

        Without a limit of size: one that grew too large by its result is accepted and quarantined by the worker,
        whereas one refused here would make a chain hang.
        """
        for follow_up in follow_ups:
            envelope = _filled(follow_up, parent, result)
            insert(self._step, envelope, encode(envelope, limit=1 << 62))

    def finish(self) -> None:
        """Apply `on_end` of all that ended, also of what that ends."""
        while self._pending:
            row, kind, value = self._pending.popleft()
            for ending in decode_endings(row.on_end):
                if ending.on in (kind, "any"):
                    self.apply(ending.effects, row.due)
                    self.follow(ending.follow_ups, row.id, value)


def _filled(follow_up: FollowUp, parent: str, result: bytes | None) -> Envelope:
    if not follow_up.takes:
        return follow_up.envelope
    value = msgspec.json.encode(parent) if follow_up.takes == "id" else result or b"null"
    try:
        return replace(follow_up.envelope, body=splice(follow_up.envelope.body, value))
    except UndecodableMessage:
        return follow_up.envelope  # accepted as it is, so that the worker quarantines it for all to see
