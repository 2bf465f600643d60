"""What is decided about a key at the publish, and travels with the message.

A worker never builds a key: its arguments may arrive in another form than they were sent in, and its code may be newer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec

from reliq.ports import Absent, Add, Effect, Guard, Put, Remove, Touch
from reliq_idempotency.entry import Entry

#: Of the core: `idempotency_key` of a publish and of a run is read from it.
KEY_HEADER = "reliq-idempotency-key"
HEADER = "reliq-idempotency"
PREFIX = "idem:"

VerdictClass: TypeAlias = Literal["done", "failed", "dropped"]


class Plan(msgspec.Struct, frozen=True, array_like=True):
    """The key of one message, and what becomes of its record."""

    version: int
    id: str  # of the message: its headers may be handed on to others
    key: str  # in the store
    fingerprint: str | None
    ttl: int  # ms
    failures: str | None = None  # which are kept: None, "permanent" or "all"
    in_progress: str = "snooze"
    max_result: int = 65_536
    trace: str | None = None  # the traceparent of the publish

    @classmethod
    def of(cls, headers: Mapping[str, str], id: str) -> Plan | None:
        """The plan that travels with a message, if it has one of its own that is understood here."""
        header = headers.get(HEADER)
        if header is None:
            return None
        try:
            plan = _decode(header)
        except msgspec.MsgspecError:
            return None
        return plan if plan.version == 1 and plan.id == id else None

    def header(self) -> str:
        """The plan as it travels, without what it says at the end if that is what plans say by default."""
        if (self.failures, self.in_progress, self.max_result, self.trace) == _DEFAULTS:
            return _encode((self.version, self.id, self.key, self.fingerprint, self.ttl)).decode()
        return _encode(self).decode()

    def accepted(self, task: str, *, keep_result: bool) -> bytes:
        """The record of a message that has not ended: the same bytes for the same message, whoever writes it."""
        quiet = 0 if keep_result or self.failures == "all" else self.ttl
        return Entry("accepted", self.id, task, self.fingerprint, trace=self.trace, quiet=quiet).encode()

    def take(self, accepted: bytes) -> tuple[Guard, Effect]:
        """The record with the publish: refused while anything stands there.

        Also where the record has the same holder, which `Add` would take again: an id that was chosen again after its
        window must not run twice within the ttl.
        """
        return Absent(self.key), Put(self.key, accepted, holder=self.id)

    def retake(self, accepted: bytes) -> Guard:
        """The record again for a dead letter's new life: refused while another message has the key."""
        return Add(self.key, accepted, holder=self.id, or_dead=False)

    def endings(
        self, task: str, accepted: bytes, *, keep_result: bool
    ) -> tuple[tuple[VerdictClass, tuple[Effect, ...]], ...]:
        """What each ending does to the record, whoever makes it.

        A settlement's own effects come before these: it has written the result, or a failure that is to be kept.
        """
        kept = Touch(self.key, ttl=self.ttl, holder=self.id)
        done: Effect = kept
        if self.failures == "all" and not keep_result:
            entry = Entry("done", self.id, task, self.fingerprint, trace=self.trace, quiet=self.ttl)
            done = Put(self.key, entry.encode(), ttl=self.ttl, holder=self.id)
        free = Remove(self.key, holder=self.id)
        failed: tuple[Effect, ...] = (free,)
        if self.failures == "permanent":
            failed = (Remove(self.key, holder=self.id, value=accepted), kept)
        elif self.failures == "all":
            failed = (kept,)
        return ("done", (done,)), ("failed", failed), ("dropped", (free,))


_DEFAULTS = Plan.__struct_defaults__
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Plan).decode
