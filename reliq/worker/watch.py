"""What the parent makes of a child's board: pure looks, no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from reliq.ports.values import ErrorInfo, Receipt, Settlement
from reliq.worker.board import FINISHED, HELD, PARKED, STARTED, Board, Running, shown
from reliq.worker.health import ChildHealth

if TYPE_CHECKING:
    from reliq.worker.process import ChildProcess


class Watched(Protocol):
    """A child, or the process itself with `-P solo`."""

    board: Board
    owner: str
    began: float
    stuck_since: float | None  # since when no delivery was started while some wait

    @property
    def pid(self) -> int: ...


OUTRUN = 0.2  # a batch was to be 20 ms of work: its tasks have become slower, so others should have the rest
LONG = 0.05  # one task has run so long: its unstarted neighbours go elsewhere
STALLED = 1.0  # nothing runs, nothing starts, yet deliveries wait
START = 300.0  # for a child to import the app, which may load a model
PATIENCE = 5.0  # between the request to stop and the kill
LINGER = 2.0  # a child has finished and does not end: another takes its place
SETTLE = 1.5  # after the grace, for what has run to be settled; as much is then left for the burial


def over_limit(running: Sequence[Running], owner: str, now: float) -> list[Settlement]:
    """The verdicts on tasks beyond their hard limit."""
    late = [entry for entry in running if entry.hard and now - entry.started > entry.hard]
    return [_too_long(Receipt(entry.id, owner, entry.fence), entry.hard) for entry in late]


def over_patience(running: Sequence[Running], child: ChildProcess, now: float) -> list[Settlement]:
    """The verdicts on tasks that did not heed the request to stop."""
    if not child.asked:
        return []
    impatient = {shown(id): id for id, until in child.asked.items() if now >= until}
    return [
        Settlement(Receipt(impatient[entry.id], child.owner, entry.fence), "dropped", reason="cancelled")
        for entry in running
        if entry.id in impatient
    ]


def is_over_grace(states: bytes, late: float) -> bool:
    """Whether a child that was told to stop has had its time, `late` seconds after the grace of its tasks.

    Killed earlier, a task that had just ended would run again: its settlement may be on its way.
    """
    ran = bytes((FINISHED,)) in states or bytes((STARTED,)) not in states
    return late > (SETTLE if ran else 0.0)


def lingers(child: ChildProcess, now: float) -> bool:
    """Whether a child has done its work, and something in it does not let it end."""
    return child.retired_since is not None and now - child.retired_since > LINGER


def is_stuck(child: Watched, states: bytes, running: Sequence[Running], now: float) -> bool:
    """Whether deliveries wait in this child's hands while it starts none of them."""
    if bytes((HELD,)) not in states:
        child.stuck_since = None
        return False
    if now - child.board.last_claim > OUTRUN:
        return True
    ran = [entry.started for entry in running if not entry.is_async]
    if ran:
        child.stuck_since = None
        return now - max(ran) > LONG
    if child.stuck_since is None:
        child.stuck_since = now
    return now - child.stuck_since > STALLED


def is_withholding(child: Watched, now: float) -> bool:
    """Whether a claim's answer waits for a child that does not look at it: a task keeps the interpreter for itself."""
    since = child.board.ahead_since
    return since > 0 and now - since > OUTRUN


def is_crowded(child: Watched, states: bytes, now: float) -> bool:
    """Whether a coroutine has waited so long, for room or for a loop that is blocked, that others should run it."""
    if bytes((PARKED,)) not in states:
        return False
    return any(now - entry.started > STALLED for entry in child.board.running(states, state=PARKED))


def note_busy(child: ChildProcess, states: bytes, now: float) -> None:
    """Remember when it was last seen at work: from then on it could claim."""
    if child.board.full or child.board.paused or bytes((STARTED,)) in states:
        child.busy_at = now


def is_idle_too_long(child: ChildProcess, now: float, allowed: float, contact: float) -> bool:
    """Whether a child that could claim has not, for so long, though the broker answers the parent.

    contact  for how many seconds it has: after an outage a child may wait for a reply that is lost, as anybody may
    """
    if not child.board.ready or not child.registered or child.busy_at == now:
        return False
    since = max(child.board.last_claim, child.ready_since or now, child.busy_at)
    return now - since > allowed and contact > allowed / 2


def is_starting_too_long(child: ChildProcess, now: float) -> bool:
    """Whether a child has not got ready: what it imports hangs."""
    if child.board.ready:
        child.ready_since = child.ready_since or now
        return False
    return now - child.began > START


def describe(child: Watched, now: float) -> ChildHealth:
    board = child.board
    claims, claimed, settled = board.counts
    last = board.last_claim
    return ChildHealth(
        pid=child.pid,
        owner=child.owner,
        last_claim=now - last if last else None,
        running=len(board.running()),
        full=board.full,
        paused=board.paused,
        starting=None if board.ready else now - child.began,
        claims=claims,
        claimed=claimed,
        settled=settled,
    )


def _too_long(receipt: Receipt, limit: float) -> Settlement:
    error = ErrorInfo("reliq.errors.TimeLimitExceeded", f"ran longer than its hard limit of {limit:g} s")
    reason = f"time limit {limit:g} s"
    return Settlement(receipt, "failed", reason=reason, error=msgspec.msgpack.encode(error))
