"""The plain values that cross a port.  Times are integer milliseconds UTC by the broker's clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec

from reliq.wire.message import Effect, Envelope, FollowUp, Guard

State: TypeAlias = Literal["ready", "due", "leased", "done", "failed", "dropped"]
LIVE: frozenset[str] = frozenset({"ready", "due", "leased"})
ENDED: frozenset[str] = frozenset({"done", "failed", "dropped"})


class Value(msgspec.Struct, frozen=True, gc=False):
    """A record in the store: its bytes, its version (1 when new, +1 per write), its end and who holds it."""

    data: bytes
    version: int = 1
    expires: int | None = None
    holder: str | None = None


class Scanned(msgspec.Struct, frozen=True, gc=False):
    """A part of a scan: records by key, and the cursor that the next part begins with ("": there is none)."""

    records: tuple[tuple[str, Value], ...]
    cursor: str = ""


class Found(msgspec.Struct, frozen=True, gc=False):
    """What a refused guard came upon: the guard, the record (if any) and the state of its holder or message."""

    guard: Guard
    value: Value | None = None
    state: State | None = None
    due: int | None = None


class Publication(msgspec.Struct, frozen=True, gc=False):
    """An envelope with the guards and effects that belong to its acceptance."""

    envelope: Envelope
    guards: tuple[Guard, ...] = ()
    effects: tuple[Effect, ...] = ()


class Published(msgspec.Struct, frozen=True, gc=False):
    """What became of one publication.

    accepted   a new message is ready or due
    duplicate  a message of this id was accepted before, within its dedupe window; nothing was written
    refused    certain: nothing was written; `found` by a guard, or `error` says why (too large, ...)
    """

    id: str
    status: Literal["accepted", "duplicate", "refused"]
    found: Found | None = None
    error: str | None = None


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """The right to settle one delivery: an old one can change nothing."""

    id: str
    owner: str
    fence: int


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """A claimed message.  `payload` is the encoded envelope, undecoded: it may be damaged or of another version.

    attempt   1 for the first run; given back and snoozed deliveries do not count
    retries   `Retry` verdicts so far; crashes: charges so far; snoozes: `Snooze` verdicts so far
    alone     it has a charge: its owner holds nothing else until it is settled
    undisturbed  when it was claimed nobody else had ever changed a record that its message holds; False: nobody knows
    """

    receipt: Receipt
    payload: bytes
    attempt: int = 1
    retries: int = 0
    crashes: int = 0
    snoozes: int = 0
    published: int = 0
    due: int = 0
    alone: bool = False
    undisturbed: bool = False


class Settlement(msgspec.Struct, frozen=True, gc=False):
    """A verdict on one delivery, with its effects and follow-ups, applied in one step.

    kind       done | failed | dropped end the message; retry | snooze make it due `after` ms from now or `at` a moment
    value      the encoded result of done; kept if the envelope says so
    error      an encoded `ErrorInfo` of failed or retry; kept in the record
    reason     why, where there is something to say; shown by `why`
    effects, follow_ups   beside those of the envelope's `on_end`, which the broker applies by itself
    """

    receipt: Receipt
    kind: Literal["done", "failed", "dropped", "retry", "snooze"]
    value: bytes | None = None
    error: bytes | None = None
    reason: str | None = None
    after: int | None = None
    at: int | None = None
    effects: tuple[Effect, ...] = ()
    follow_ups: tuple[FollowUp, ...] = ()


class Settled(msgspec.Struct, frozen=True, gc=False):
    """The answer to one settlement.

    applied   the transition was made, now and once
    repeated  this receipt had settled the message before (the reply was lost); nothing was written
    stale     the receipt is no longer, or never was, the holder's; nothing was written
    """

    id: str
    status: Literal["applied", "repeated", "stale"]
    skipped: int = 0  # of its own effects (not those of `on_end`): what found nothing it may act on


class Claimed(msgspec.Struct, frozen=True, gc=False):
    """The answer to a claim: the settlements' answers in their order, then the deliveries.

    live        False: the owner is dead or unknown; there are no deliveries, and never will be for this owner
    next_due    the earliest due time among the queues asked for, when nothing was ready
    wants_alone a charged message waits for a process that holds nothing: drain, then claim again
    anew        what the owner holds may differ from what it has in hand

    The broker was reached anew since the owner's last claim (a fail-over, a crash) and may have forgotten, or it gave
    the owner something that has not arrived.  Then compare `held` with what is in hand, and give back the rest.
    """

    settled: tuple[Settled, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    live: bool = True
    next_due: int | None = None
    wants_alone: bool = False
    anew: bool = False


class Renewal(msgspec.Struct, frozen=True, gc=False):
    """The answer to a renewal: is the owner live, and which of its messages were asked to stop."""

    live: bool
    stop: tuple[str, ...] = ()


class Moved(msgspec.Struct, frozen=True, gc=False):
    """One message that the broker itself moved, for observers: where it went and why."""

    id: str
    task: str
    queue: str
    state: State
    reason: str | None = None


class Ended(msgspec.Struct, frozen=True, gc=False):
    """What a bury or a reap did.  `more`: the limit was reached, call again."""

    moved: tuple[Moved, ...] = ()
    owners: tuple[str, ...] = ()  # owners that are gone now
    purged: int = 0
    more: bool = False


class Cancelled(msgspec.Struct, frozen=True, gc=False):
    """cancelled: it was waiting and is dropped now; requested: it runs, its owner will be told; ended; unknown."""

    status: Literal["cancelled", "requested", "ended", "unknown"]
    state: State | None = None


class Transition(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One step of a message's life, as `why` tells it."""

    at: int
    to: str  # a state, or "given_back"
    reason: str | None = None
    owner: str | None = None
    attempt: int = 0
    fence: int = 0
    due: int | None = None
    error: bytes | None = None


class Record(msgspec.Struct, frozen=True, gc=False):
    """All that is known of one message; `transitions` are its last 16, oldest first."""

    id: str
    task: str
    queue: str
    state: State
    priority: int = 0
    reason: str | None = None
    published: int = 0
    due: int = 0
    expires: int | None = None
    attempt: int = 0
    retries: int = 0
    crashes: int = 0
    snoozes: int = 0
    life: int = 1  # a dead-letter replay starts a new one
    fence: int = 0
    owner: str | None = None
    claimed: int | None = None
    ended: int | None = None
    gone: int | None = None  # when the record will be purged
    alone: bool = False
    cancel: bool = False
    payload: bytes = b""
    value: bytes | None = None
    error: bytes | None = None
    transitions: tuple[Transition, ...] = ()


class Depth(msgspec.Struct, frozen=True, gc=False):
    """How many messages of a queue are in each live state, and since when the oldest ready one waits (ms UTC)."""

    queue: str
    ready: int = 0
    due: int = 0
    leased: int = 0
    oldest: int | None = None


class OwnerInfo(msgspec.Struct, frozen=True, gc=False):
    """One incarnation of a worker process as the broker knows it."""

    owner: str
    state: Literal["live", "dead"]
    since: int
    expires: int
    held: int
    about: Mapping[str, str] = {}


class Audit(msgspec.Struct, frozen=True, gc=False):
    """The books of the broker at one instant: `accepted` counted at publish, `states` counted now.

    `states` has the live states as they stand and the ended ones as counted at each ending (a purge takes the record,
    not the count; a replay takes one from failed).  The books balance when accepted == sum(states.values()).
    """

    accepted: int
    states: Mapping[str, int]
    broken: tuple[tuple[str, str], ...] = ()  # (id, which rule it breaks)
    undecodable: int = 0

    @property
    def balanced(self) -> bool:
        return self.accepted == sum(self.states.values()) and not self.broken


class Capabilities(msgspec.Struct, frozen=True, gc=False):
    """What a broker can do; the contract suites and the runtime ask here, never for a type."""

    name: str
    durability: str = ""  # in words, for the banner
    engine: bool = False  # guards, effects and messages move in one step
    priorities: bool = False
    cancel: bool = False
    due: bool = False
    shared: bool = False  # several processes may use it at once
    survives_restart: bool = False
    ahead: bool = False  # a claim can be on its way while its owner works: the broker is a `ClaimsAhead`
    sweeps: bool = False  # workers can share their sweeps: the broker is a `SharesSweeps`


class Applied(msgspec.Struct, frozen=True, gc=False):
    """The answer to `Store.apply`: `found` is set when a guard refused; then nothing was written."""

    ok: bool
    found: Found | None = None
    skipped: int = 0


class ErrorInfo(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """An exception as data: never pickled, never imported by name."""

    kind: str  # qualified class name
    message: str
    traceback: str | None = None
