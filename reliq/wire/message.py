"""The values that travel: envelopes, the guards and effects that go with them, and what ends them.

All are frozen msgspec structs encoded as MessagePack arrays: the order of the fields *is* the wire format, so a
field is only ever appended, with a default.  Times are integer milliseconds UTC; spans are milliseconds.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

WIRE_VERSION = 1


class _Wire(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of everything that travels."""


# --- guards: checked before anything is written; the first one that is refused refuses the whole item -------------


class Add(_Wire, frozen=True, tag="add"):
    """Take `key` for `holder` (or for nobody), else refuse with the record found there.

    A record is free when it is absent; when it is lapsed (its `ttl` is over) and its holder is not leased; and, with
    `or_dead`, when its holder's message has ended or was never accepted.  A record with the same `holder` is taken
    again (re-entrant).  `ttl` None keeps it until it is removed (or, with `or_dead`, until the holder ends).  With
    `from_due` the ttl counts from the due time of the message it is published with, where that is later than now.

    The newest may win: with `replaces` a key whose holder waits (ready or due) is taken over, and that message is
    dropped with this text as its reason; with `or_leased` one whose holder is leased is taken over, and that message
    runs on.  A key that nobody holds is taken over by neither.
    """

    key: str
    value: bytes = b""
    ttl: int | None = None
    holder: str | None = None
    or_dead: bool = True
    from_due: bool = False
    replaces: str | None = None
    or_leased: bool = False


class Absent(_Wire, frozen=True, tag="absent"):
    """Refuse when a live record stands under `key`."""

    key: str


class Equals(_Wire, frozen=True, tag="equals"):
    """Refuse unless the live record under `key` has exactly this value."""

    key: str
    value: bytes


class AtVersion(_Wire, frozen=True, tag="version"):
    """Refuse unless the live record under `key` has this version (0: there is none)."""

    key: str
    version: int


class NotLeased(_Wire, frozen=True, tag="not_leased"):
    """Refuse when message `id` is leased."""

    id: str


class Leased(_Wire, frozen=True, tag="leased"):
    """Refuse unless message `id` is leased under this fence: what a run does that has lost its message is refused."""

    id: str
    fence: int


Guard: TypeAlias = Add | Absent | Equals | AtVersion | NotLeased | Leased


# --- effects: applied after all guards hold; one that finds nothing it may act on is skipped and counted -----------


class Put(_Wire, frozen=True, tag="put"):
    """Write `key`, whatever stands there; with `holder`, only where nobody or that holder holds it."""

    key: str
    value: bytes = b""
    ttl: int | None = None
    holder: str | None = None
    from_due: bool = False


class Remove(_Wire, frozen=True, tag="remove"):
    """Remove `key`; with `holder` or `value`, only while the record has that holder, that value."""

    key: str
    holder: str | None = None
    value: bytes | None = None


class Touch(_Wire, frozen=True, tag="touch"):
    """Let `key` live for `ttl` from now (`from_due`: from the message's new due time); with `holder`, only its own."""

    key: str
    ttl: int | None = None
    holder: str | None = None
    from_due: bool = False


class Incr(_Wire, frozen=True, tag="incr"):
    """Add `by` to the integer under `key` (decimal text; absent is 0); a new record gets `ttl`."""

    key: str
    by: int = 1
    ttl: int | None = None


class CancelMessage(_Wire, frozen=True, tag="cancel"):
    """Drop message `id` with `reason`; skipped unless it is waiting (ready or due)."""

    id: str
    reason: str = "cancelled"


class IndexPut(_Wire, frozen=True, tag="index_put"):
    """Put `member` into the ordered `index` at `at` (milliseconds)."""

    index: str
    member: str
    at: int


class IndexRemove(_Wire, frozen=True, tag="index_remove"):
    """Take `member` out of the ordered `index`."""

    index: str
    member: str


Effect: TypeAlias = Put | Remove | Touch | Incr | CancelMessage | IndexPut | IndexRemove

VerdictClass: TypeAlias = Literal["done", "failed", "dropped", "any"]


class Ending(_Wire, frozen=True):
    """What happens, in the same step, when a message ends with `on`: `done`, `failed`, `dropped` or `any` of them."""

    on: VerdictClass
    effects: tuple[Effect, ...] = ()
    follow_ups: tuple[FollowUp, ...] = ()


class Envelope(_Wire, frozen=True):
    """A message as it travels.  Immutable; what changes over its life is in the broker's record, not here."""

    v: int
    id: str
    task: str
    queue: str
    body: bytes = b"[[],{}]"  # JSON: [positional, keyword]
    priority: int = 0  # 0 (last) to 9 (first)
    eta: int | None = None  # due at this moment
    delay: int | None = None  # due this long after the broker accepted it; never both
    expires: int | None = None  # dropped when not begun by this moment
    expires_in: int | None = None  # ... counted from acceptance
    expires_after_due: int | None = None  # ... counted from the due time
    headers: dict[str, str] = {}
    on_end: tuple[Ending, ...] = ()
    max_crashes: int = 3
    keep: int = 86_400_000  # how long the record stays after the end
    keep_failed: int = 604_800_000  # ... after a failure: a dead letter
    keep_result: bool = True
    chosen: bool = False  # the id was chosen by the caller: a dedupe window of 24 h, not 60 s
    soft_time_limit: float | None = None  # seconds; over the task's own
    time_limit: float | None = None
    root: str | None = None
    parent: str | None = None
    group: str | None = None
    content: str = "json"
    encoding: str = ""  # reserved: compression of the body
    key_id: str = ""  # reserved: which key signed
    signature: bytes = b""  # reserved: HMAC over the envelope
    on_replay: tuple[Guard, ...] = ()  # must hold, and are taken, before a dead letter gets a new life


class FollowUp(_Wire, frozen=True):
    """A message published by the step that ends another one.

    `takes` says what is put before its positional arguments: nothing, the `result`, the ended message's `id`.
    """

    envelope: Envelope
    takes: Literal["", "result", "id"] = ""
