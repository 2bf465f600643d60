"""What travels with a message and what stands in the store: both are written once, at the publish.

The ticket is a header.  A worker acts on it and never computes a key again: a task whose arguments change their form on
the way, or whose signature changed since, still frees its own lock.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec

from reliq.errors import ReliqError
from reliq.ports import Value

HEADER = "reliq-once"
LOCK = "once:"  # + digest: who may be queued
SLOT = "once-slot:"  # + digest + ":" + number: who runs, live exactly while its holder is leased
LAST = "once-last:"  # + digest: the newest call, where the newest wins
VERSION = 1

logger = logging.getLogger("reliq.once")

Frees: TypeAlias = Literal["s", "d", "e"]  # at the start, when done, at the expiry


class Ticket(msgspec.Struct, frozen=True, array_like=True):
    """What the worker must know of the lock of a message.  A field is only ever appended, with a default."""

    v: int
    digest: str
    ttl: int  # ms after the due time
    frees: Frees
    newest: bool = False
    relock: bool = False
    slots: int = 0
    busy: Literal["snooze", "drop", "fail"] = "snooze"
    run_anyway: bool = False  # when the store fails at the start
    hold: bool = False
    first: int = 0  # as in the record

    @property
    def key(self) -> str:
        return LOCK + self.digest

    @property
    def last(self) -> str:
        return LAST + self.digest

    def slot(self, number: int) -> str:
        return slot_key(self.digest, number)

    @property
    def lets_go(self) -> bool:
        """Whether the lock is dropped when the task starts.

        Not where the newest wins: there a lock whose message runs may be taken over, so that it still says, when the
        message comes back after a crash or for a retry, whether a newer call came in between.
        """
        return self.frees == "s" and not self.newest

    @property
    def asks_nothing(self) -> bool:
        """Whether a run has nothing to do with the lock: it only stands until the message ends."""
        return self.frees != "s" and not self.slots

    @property
    def or_dead(self) -> bool:
        """Whether another may take the lock of a message that has ended: not where it is meant to outlive it."""
        return self.frees != "e" and not self.hold


class Newer(msgspec.Struct, frozen=True):
    """A ticket of a later version of this plug-in."""

    v: int


class LockRecord(msgspec.Struct, frozen=True, array_like=True):
    """The value of a lock.  `first` is when its burst of calls began (ms), 0 where nothing is debounced.

    trace  the traceparent of the holder's publish, to which a duplicate's span can link
    """

    v: int
    task: str
    frees: Frees
    hold: bool = False
    first: int = 0
    since: int = 0  # ms; by the publisher's clock
    trace: str | None = None


class NewerRecord(ReliqError):
    """A lock was written by a newer reliq_once."""


_encode = msgspec.json.Encoder().encode
_tickets = msgspec.json.Decoder(Ticket)
_records = msgspec.json.Decoder(LockRecord)
_UNREAD = -1
_quiet: dict[str, int | None] = {}
_MOST = 1000
_HEAD = f'[{VERSION},"'
_DIGEST = 40
_TAIL = len(_HEAD) + _DIGEST


def slot_key(digest: str, number: int) -> str:
    return f"{SLOT}{digest}:{number}"


def write(item: Ticket | LockRecord) -> bytes:
    return _encode(item)


def around(ticket: Ticket) -> tuple[str, str]:
    """The header of such a ticket without its digest: what stands before and after it.

    Fields at the end that have their defaults are left out.
    """
    v, _, *rest = msgspec.structs.astuple(ticket)
    defaults = list(Ticket.__struct_defaults__)
    while defaults and rest[-1] == defaults.pop():
        rest.pop()
    return f'[{v},"', f'",{_encode(rest).decode()[1:]}'


def ticket_of(headers: Mapping[str, str]) -> Ticket | Newer | None:
    """The message's ticket; None when it has none, or one that nobody can read (its ending frees the lock anyhow)."""
    text = headers.get(HEADER)
    if text is None:
        return None
    try:
        ticket = _tickets.decode(text)
    except msgspec.MsgspecError:
        version = _version(text)
        if version is not None and version > VERSION:
            return Newer(version)
        logger.error(
            "the header %s is damaged, so the lock is only freed at the message's end: %.200r", HEADER, text
        )
        return None
    return ticket if ticket.v <= VERSION else Newer(ticket.v)


def quiet_ttl(header: str) -> int | None:
    """How long (ms) the lock stands of a ticket of which a run asks nothing; None: the ticket must be read.

    All calls of a task have nearly the same ticket: what follows its digest is read once.
    """
    tail = header[_TAIL:]
    found = _quiet.get(tail, _UNREAD)
    if found is not _UNREAD and header.startswith(_HEAD):
        return found
    try:
        ticket = _tickets.decode(header)
    except msgspec.MsgspecError:
        return None
    if ticket.first or ticket.v != VERSION or len(ticket.digest) != _DIGEST:
        return None
    if len(_quiet) >= _MOST:  # each call may have a timeout of its own
        _quiet.clear()
    ttl = _quiet[tail] = ticket.ttl if ticket.asks_nothing else None
    return ttl


def record_of(key: str, value: Value) -> LockRecord:
    """What stands in a lock; `NewerRecord` for one that this version cannot read."""
    version = _version(value.data)
    if version is not None and version > VERSION:
        raise NewerRecord(
            f"The lock {key} has version {version}, this reliq_once reads {VERSION}: upgrade reliq-queue here; "
            f"message {value.holder} holds it (reliq why {value.holder})",
            key=key,
            version=version,
            existing_id=value.holder,
        )
    try:
        return _records.decode(value.data)
    except msgspec.MsgspecError as error:
        raise NewerRecord(
            f"The lock {key} holds {value.data[:80]!r}, which is no lock of reliq_once; "
            f"reliq once release --force {key} removes it",
            key=key,
            existing_id=value.holder,
        ) from error


def _version(data: str | bytes) -> int | None:
    try:
        found = msgspec.json.decode(data)
    except msgspec.MsgspecError:
        return None
    version = found[0] if isinstance(found, list) and found else None
    return version if isinstance(version, int) else None
