"""One incarnation of a worker process, to which leases belong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reliq.ports.values import OwnerInfo, Receipt

if TYPE_CHECKING:
    from reliq.engines.memory.message import Message


@dataclass(slots=True, eq=False)
class Owner:
    """A live owner; one that is buried is gone in the same step, so here is never a dead one."""

    name: str
    since: int
    expires: int
    lease: int  # ms that each renewal lasts
    about: Mapping[str, str]
    held: dict[str, Message] = field(default_factory=dict)  # in the order of the claims
    seq: int | None = None  # of the last claim that leased something
    batch: tuple[Receipt, ...] = ()  # what that one leased
    calls: int = 0  # tells a blocked claim that a newer one came, or that it was woken

    def renew(self, now: int, lease: float) -> None:
        self.lease = math.ceil(lease * 1000)
        self.expires = now + self.lease

    @property
    def holds_charged(self) -> bool:
        # A charged message is leased alone, so the first one tells for all.
        return any(message.charged for message in list(self.held.values())[:1])

    def info(self) -> OwnerInfo:
        return OwnerInfo(self.name, "live", self.since, self.expires, len(self.held), dict(self.about))
