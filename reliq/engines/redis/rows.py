"""A message's row as the scripts keep it (lua/lib/rows.lua), and the record that is shown of it."""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from reliq.ports.values import Delivery, Receipt, Record, State, Transition
from reliq.wire.message import Envelope

NAMES: dict[int, State] = {0: "ready", 2: "due", 3: "leased", 4: "done", 5: "failed", 6: "dropped"}
CODES: dict[str, str] = {name: str(code) for code, name in NAMES.items()}
_STATIC = struct.Struct("<8B2I3Q")
_NUMBERS = struct.Struct("<BQ4I5Q8B2I3Q")
_BORN = struct.Struct("<5Q")
_MOMENTS = struct.Struct("<QQ24x")  # the same, as far as a delivery says it
_DELIVERED = struct.Struct("<4IQ")


class Row(NamedTuple):
    """The columns of lua/lib/rows.lua, in its order; 0 and "" stand for none."""

    state: int
    expires: int
    attempt: int
    retries: int
    crashes: int
    snoozes: int
    fence: int
    claim: int
    claimed: int
    settled: int
    ended: int
    cancel: int
    has_error: int
    has_end: int
    erred: int
    has_value: int
    has_story: int
    priority: int
    keep_result: int
    life: int
    max_crashes: int
    window: int
    keep: int
    keep_failed: int
    queue: str
    task: str
    owner: str
    reason: str
    published: int
    due: int
    place: int
    accepted: int
    promoted: int

    @property
    def live(self) -> bool:
        return self.state <= 3

    @property
    def leased(self) -> bool:
        return self.state == 3

    @property
    def gone(self) -> int | None:
        """When the record is purged."""
        return self.ended + (self.keep_failed if self.state == 5 else self.keep) if self.ended else None

    def record(
        self,
        id: str,
        payload: bytes,
        value: bytes | None = None,
        error: bytes | None = None,
        transitions: tuple[Transition, ...] = (),
    ) -> Record:
        return Record(
            id=id,
            task=self.task,
            queue=self.queue,
            state=NAMES[self.state],
            priority=self.priority,
            reason=self.reason or None,
            published=self.published,
            due=self.due,
            expires=self.expires or None,
            attempt=self.attempt,
            retries=self.retries,
            crashes=self.crashes,
            snoozes=self.snoozes,
            life=self.life,
            fence=self.fence,
            owner=self.owner if self.leased else None,
            claimed=self.claimed if self.leased else None,
            ended=self.ended or None,
            gone=self.gone,
            alone=self.live and self.crashes > 0,
            cancel=bool(self.cancel),
            payload=payload,
            value=value,
            error=error,
            transitions=transitions,
        )


def row_end(envelope: Envelope, window: int) -> bytes:
    """Of a new row `cancel` to `reason`: what the server has nothing to say about."""
    return _end(
        bool(envelope.on_end),
        envelope.priority,
        envelope.keep_result,
        envelope.max_crashes,
        window,
        envelope.keep,
        envelope.keep_failed,
        envelope.queue,
        envelope.task,
    )


@lru_cache(maxsize=512)  # the messages of a task have it in common
def _end(
    has_end: bool,
    priority: int,
    keep_result: bool,
    max_crashes: int,
    window: int,
    keep: int,
    keep_failed: int,
    queue: str,
    task: str,
) -> bytes:
    numbers = (0, 0, has_end, 0, 0, 0, priority, keep_result, 1, max_crashes, window, keep, keep_failed)
    return _STATIC.pack(*numbers) + f"{queue}\0{task}\0\0\0".encode()


def read_row(raw: bytes) -> Row:
    texts = raw[_NUMBERS.size : -_BORN.size].split(b"\0")
    return Row(
        *_NUMBERS.unpack_from(raw), *(text.decode() for text in texts[:4]), *_BORN.unpack(raw[-_BORN.size :])
    )


def read_deliveries(
    owner: str,
    ids: Sequence[str],
    born: bytes,
    heads: bytes,
    payloads: Sequence[bytes | None],
    *,
    disturbed: Collection[str],
) -> tuple[Delivery, ...]:
    """The deliveries in an answer of claim.lua; one head stands for all where they are alike.

    disturbed  those that somebody else may have changed something of
    """
    told = [*_DELIVERED.iter_unpack(heads)]
    if len(told) == 1:
        told *= len(ids)
    return tuple(
        Delivery(
            Receipt(id, owner, fence),
            payload or b"",
            attempt,
            retries,
            crashes,
            snoozes,
            published,
            due,
            crashes > 0,
            id not in disturbed,
        )
        for id, (published, due), (attempt, retries, crashes, snoozes, fence), payload in zip(
            ids, _MOMENTS.iter_unpack(born), told, payloads, strict=True
        )
    )


def read_record(found: Sequence[Any]) -> Record:
    """The record in an answer of get.lua; its id is what the caller asked for, and comes first here."""
    id, raw, payload, value, error, steps = found
    return read_row(raw).record(id, payload or b"", value, error, tuple(_step(*step) for step in steps))


def _step(
    at: int,
    to: bytes,
    reason: bytes | None,
    owner: bytes | None,
    attempt: int,
    fence: bytes,
    due: Any,
    error: Any,
) -> Transition:
    return Transition(
        at,
        to.decode(),
        reason.decode() if reason else None,
        owner.decode() if owner else None,
        attempt,
        int(fence),
        due or None,
        error or None,
    )
