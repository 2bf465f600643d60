"""What a lock has to say when its message is about to run."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass

from reliq import Drop, Fail, RunContext, Snooze, Tally, Verdict
from reliq.ports import Add, Effect, Leased, Put, Remove
from reliq_once.ticket import VERSION, LockRecord, Ticket, write

STARTED = "once"  # in `ctx.state`
OFF, OFF_MOST = (
    5.0,
    60.0,
)  # seconds until a message is tried again whose store did not answer; twice as long each time
_FIRST, _LONGEST = 0.5, 15.0  # seconds between two looks for a free slot
logger = logging.getLogger("reliq.once")


@dataclass(frozen=True, slots=True)
class Started:
    """What a lock will say that is taken again after this run."""

    record: LockRecord


def first_record(ctx: RunContext, ticket: Ticket) -> LockRecord:
    """What the lock of a message says that has yet to begin: its burst of calls goes on."""
    now = ctx.app.clock.now_ms()
    return LockRecord(VERSION, ctx.task.name, ticket.frees, ticket.hold, ticket.first, now, ctx.trace)


def start(ctx: RunContext, ticket: Ticket, tally: Tally) -> Verdict | None:
    """None: run.  At most one step on the store in the common case; two where something is in the way."""
    now = ctx.app.clock.now_ms()
    record = LockRecord(VERSION, ctx.task.name, ticket.frees, ticket.hold, since=now, trace=ctx.trace)
    if not ticket.lets_go and not ticket.slots and not (ticket.newest and ticket.frees == "s"):
        if not _adopt(ctx, ticket, record, tally):
            return _lost()
        ctx.state[STARTED] = Started(record)
        return None
    effects: tuple[Effect, ...] = (Remove(ticket.key, holder=ctx.id),)
    if not ticket.lets_go:  # written anew: a call from now on begins a burst of its own
        effects = (*effects, Put(ticket.key, write(record), ttl=ticket.ttl, holder=ctx.id))
    entered = _enter(ctx, ticket, record, effects)
    if entered is None:
        return _lost()
    slot, mine = entered
    if slot is None and ticket.slots:
        return _superseded(ctx, ticket, tally) or _busy(ctx, ticket, tally)
    ctx.state[STARTED] = Started(record)
    if slot is not None:
        ctx.with_settlement(Remove(slot, holder=ctx.id))
    again = ctx.delivery.attempt > 1 or ctx.delivery.snoozes > 0
    if mine and not again:
        return None
    verdict = _superseded(ctx, ticket, tally)
    # Later on, a message that lets go has let go at its first start.
    if verdict is None and not mine and (ticket.newest or not again):
        _lapsed(ctx, ticket, tally, "it runs without")
    return verdict


def _enter(
    ctx: RunContext, ticket: Ticket, record: LockRecord, effects: tuple[Effect, ...]
) -> tuple[str | None, bool] | None:
    """The slot taken, if any, and whether the lock was this message's; None: this run has lost its message.

    A slot has no life of its own (ttl 0): it is live exactly while its holder is leased.  Without the guard a process
    that was held up for longer than its lease would free the lock, or take a slot, of the run that came after it.
    """
    held = Leased(ctx.id, ctx.fence)
    if not ticket.slots:
        applied = ctx.store.apply((held,), effects)
        return (None, applied.skipped == 0) if applied.ok else None
    value = write(record)
    first = (
        sum(ctx.id.encode()) % ticket.slots
    )  # where a message looks first, so that not all look at the same
    for number in range(ticket.slots):
        slot = ticket.slot((first + number) % ticket.slots)
        applied = ctx.store.apply((held, Add(slot, value, ttl=0, holder=ctx.id)), effects)
        if applied.ok:
            return slot, applied.skipped == 0
        if applied.found is not None and applied.found.guard == held:
            return None
    return None, True


def _lost() -> Drop:
    """Nobody hears this verdict: the settlement of a run that has lost its message is refused."""
    return Drop("this run has lost its message")


def _superseded(ctx: RunContext, ticket: Ticket, tally: Tally) -> Verdict | None:
    """Give way to a newer call: one that was accepted after this message had been claimed."""
    if not (ticket.newest and ticket.frees == "s"):
        return None
    last = ctx.store.store_get(ticket.last)
    newest = ctx.id if last is None else last.data.decode()
    if newest == ctx.id:
        return None
    tally.settle(ctx, "superseded")
    return Drop(f"superseded by the newer call {newest}")


def _busy(ctx: RunContext, ticket: Ticket, tally: Tally) -> Verdict:
    tally.settle(ctx, "busy")
    many = f"{ticket.slots} of its key run{'s' if ticket.slots == 1 else ''} already"
    if ticket.busy == "drop":
        return Drop(many)
    if ticket.busy == "fail":
        return Fail(many)
    wait = min(_LONGEST, _FIRST * 2 ** min(ctx.delivery.snoozes, 10))
    return Snooze(wait * random.uniform(0.75, 1.25), reason=many)


def _adopt(ctx: RunContext, ticket: Ticket, record: LockRecord, tally: Tally) -> bool:
    """A lock that lapsed while its message waited never stops it: it is taken again if it is free, and reported.

    False: this run has lost its message, so there is nothing to take.
    By the worker's clock, which decides here only whether a look is worth a call; after a crash nobody knows how long
    the former run took.
    """
    waited = ctx.app.clock.now_ms() - ctx.delivery.due
    if waited < ticket.ttl and not ctx.delivery.crashes:
        return True
    held = Leased(ctx.id, ctx.fence)
    guard = Add(ticket.key, write(record), ttl=ticket.ttl, holder=ctx.id, or_dead=ticket.or_dead)
    applied = ctx.store.apply((held, guard), ())
    if applied.found is not None and applied.found.guard == held:
        return False
    if applied.ok and waited < ticket.ttl:
        return True
    holder = applied.found.value.holder if applied.found is not None and applied.found.value else None
    what = f"message {holder} has it now, so two of one key may run" if holder else "it was taken again"
    _lapsed(ctx, ticket, tally, what)
    return True


def _lapsed(ctx: RunContext, ticket: Ticket, tally: Tally, what: str) -> None:
    tally.settle(ctx, "lapses")
    logger.warning(
        "once.lapsed: the lock of message %s (%s) lapsed while it waited: its timeout is %.0f s, and it starts %.0f s "
        "after its due time; %s",
        ctx.id,
        ctx.task.name,
        ticket.ttl / 1000,
        (ctx.app.clock.now_ms() - ctx.delivery.due) / 1000,
        what,
    )
