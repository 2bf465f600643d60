"""A message as the memory engine keeps it, and the record that is shown of it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from msgspec.structs import replace

from reliq.engines.memory.owner import Owner
from reliq.ports.values import LIVE, Delivery, Receipt, Record, State, Transition
from reliq.wire.message import Envelope


@dataclass(slots=True, eq=False)
class Message:
    """Mutable; only `messages.py` changes where it is."""

    envelope: Envelope
    payload: bytes
    queue: str
    accepted: int  # its number in the order of acceptance
    published: int
    due: int
    expires: int | None
    state: State = "ready"
    reason: str | None = None
    place: int = 0  # its number in the order of becoming ready; kept while it is leased
    moves: int = 0  # grows with each move: what was noted about it before counts no more
    attempt: int = 0
    retries: int = 0
    crashes: int = 0
    snoozes: int = 0
    life: int = 1
    fence: int = 0  # of the last claim
    settled: int = 0  # the fence that last settled it; no claim has fence 0
    owner: Owner | None = None
    claimed: int | None = None
    ended: int | None = None
    gone: int | None = None
    cancel: bool = False
    value: bytes | None = None
    error: bytes | None = None
    log: deque[Transition] = field(default_factory=lambda: deque(maxlen=16))

    @property
    def id(self) -> str:
        return self.envelope.id

    @property
    def waiting(self) -> bool:
        return self.state == "ready" or self.state == "due"

    @property
    def live(self) -> bool:
        return self.state in LIVE

    @property
    def charged(self) -> bool:
        """It crashed a process: it is claimed alone until it has ended."""
        return self.crashes > 0

    def forget(self) -> None:
        """No value and no error any more, in the story neither."""
        self.value = self.error = None
        self.log = deque((replace(step, error=None) for step in self.log), maxlen=self.log.maxlen)

    def receipt(self) -> Receipt:
        assert self.owner is not None
        return Receipt(self.id, self.owner.name, self.fence)

    def delivery(self) -> Delivery:
        return Delivery(
            self.receipt(),
            self.payload,
            attempt=self.attempt,
            retries=self.retries,
            crashes=self.crashes,
            snoozes=self.snoozes,
            published=self.published,
            due=self.due,
            alone=self.charged,
        )

    def record(self, *, transitions: bool = True) -> Record:
        return Record(
            id=self.id,
            task=self.envelope.task,
            queue=self.queue,
            state=self.state,
            priority=self.envelope.priority,
            reason=self.reason,
            published=self.published,
            due=self.due,
            expires=self.expires,
            attempt=self.attempt,
            retries=self.retries,
            crashes=self.crashes,
            snoozes=self.snoozes,
            life=self.life,
            fence=self.fence,
            owner=None if self.owner is None else self.owner.name,
            claimed=self.claimed,
            ended=self.ended,
            gone=self.gone,
            alone=self.live and self.charged,
            cancel=self.cancel,
            payload=self.payload,
            value=self.value,
            error=self.error,
            transitions=tuple(self.log) if transitions else (),
        )
