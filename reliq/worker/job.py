"""A delivery that can be run here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from reliq.context import RunContext
from reliq.ports.values import Delivery
from reliq.verdicts import Verdict

if TYPE_CHECKING:
    from typing import Any

    from reliq.policy.chain import Chain
    from reliq.tasks import Task
    from reliq.wire.message import Envelope


class Job(msgspec.Struct, eq=False):
    """A delivery that can be run here."""

    delivery: Delivery
    envelope: Envelope
    task: Task[..., Any]
    chain: Chain
    ctx: RunContext
    is_direct: bool  # its function is called, nothing around it
    is_async: bool
    soft: float | None
    hard: float | None
    entered: int  # how many middleware a run has entered, outermost first
    verdict: Verdict | None = None
    error: BaseException | None = None
    duration: float | None = None  # where a `settled` hook is told

    def __repr__(self) -> str:
        return f"<run of {self.task.name}>"

    def kept(self) -> Job | Delivery | None:
        """What is kept of this run until the broker has answered, for the `settled` hooks.

        Itself, where one hears of what was applied, or where not all were entered; its delivery, where they hear only
        of refusals, which are rare; None: nobody is told.
        """
        chain = self.chain
        if not chain.settled:
            return None
        if chain.settled_applied or self.entered < len(chain.middleware):
            return self
        return self.delivery
