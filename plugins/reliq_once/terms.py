"""What all calls with the same options have in common: worked out once, not for each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from reliq_once import conf
from reliq_once.options import Once, seconds
from reliq_once.ticket import VERSION, Frees, Ticket, around

if TYPE_CHECKING:
    from reliq import Reliq


class Terms(msgspec.Struct, frozen=True):
    """The options, and what follows from them.

    ticket    that of every such call, but for its digest and its burst
    around    what stands in the header before and after the digest
    revision  of the app's settings when they were read
    """

    once: Once
    ticket: Ticket
    around: tuple[str, str]
    revision: int

    @classmethod
    def of(cls, app: Reliq, once: Once) -> Terms:
        timeout = conf.default_timeout(app) if once.timeout is None else seconds(once.timeout)
        frees: Frees = once.frees[0]  # type: ignore[assignment]
        ticket = Ticket(
            v=VERSION,
            digest="",
            ttl=max(1, int(timeout * 1000)),
            frees=frees,
            newest=once.newest,
            relock=once.relock_on_retry,
            slots=once.slots,
            busy=once.on_busy or "snooze",
            run_anyway=once.on_store_error == "run",
            hold=once.hold_on_failure,
        )
        return cls(once, ticket, around(ticket), app.conf.revision)

    def header(self, digest: str, first: int) -> str:
        """The ticket of one call; `first` as in the lock."""
        ticket = self.ticket
        before, after = around(msgspec.structs.replace(ticket, first=first)) if first else self.around
        return before + digest + after
