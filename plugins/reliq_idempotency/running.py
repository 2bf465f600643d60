"""What a run finds under its key before it begins.

Nearly always its own record.  Another message's stands there only when somebody removed the record of a live message,
or sent a message by other ways than this middleware.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from reliq import Done, Drop, Fail, RunContext, Snooze, Verdict
from reliq.ports import Add, Equals, Guard, Leased, Record, Value
from reliq_idempotency.duplicates import differs, mismatch
from reliq_idempotency.entry import Entry
from reliq_idempotency.errors import IdempotencyInProgress
from reliq_idempotency.plan import Plan

Count = Callable[[str], None]

_LIVE = ("ready", "due", "leased")
_LONGEST = 60.0  # seconds between two looks
_FRESH = 1_000  # ms since its claim for which a run need not look: a small part of any lease
_LOOKS = 3


@dataclass(slots=True)
class Note:
    """What one run is to remember.

    joined  another message has the key: whatever becomes of this one, the record is not its own
    """

    plan: Plan | None
    joined: bool = False
    error: BaseException | None = None


def note(ctx: RunContext) -> Note:
    """The note of this run; its plan is read when it is made."""
    found: Note | None = ctx.state.get("idempotency")
    if found is None:
        found = ctx.state["idempotency"] = Note(Plan.of(ctx.headers, ctx.id))
    return found


def before(ctx: RunContext, plan: Plan, count: Count) -> Verdict | None:
    """None: run.  Else what becomes of this run, as another message has the key."""
    for _ in range(_LOOKS):
        value = ctx.store.store_get(plan.key)
        entry = None if value is None else Entry.of(value, key=plan.key)
        if value is None or entry is None:
            taken = _taken(ctx, plan)
            if taken is not False:
                return taken
        elif value.holder == ctx.id:
            return _own(ctx, entry)
        else:
            holder = _holder(ctx, entry)
            if not _is_orphan(value, entry, holder):
                note(ctx).joined = True
                return _other(ctx, plan, entry, holder, count)
            # Dead for certain: `Add` looks once more, in the step that takes it.
            taken = _taken(ctx, plan, Equals(plan.key, value.data), or_dead=True)
            if taken is not False:
                return taken
    return later(ctx, "the key changes hands")


def is_certain(ctx: RunContext) -> bool:
    """Whether the broker has just said that nobody touched the record, so that a look would tell nothing new.

    A run that was held up since its claim looks: another may have taken the message, and done it.
    """
    delivery = ctx.delivery
    age = ctx.app.clock.now_ms() - delivery.receipt.fence // 1000  # which is the moment of the claim
    return delivery.undisturbed and not delivery.crashes and 0 <= age < _FRESH


def later(ctx: RunContext, reason: str) -> Snooze:
    """Look again, after a while that grows."""
    return Snooze(min(_LONGEST, 2.0 ** min(ctx.delivery.snoozes, 10)), reason=reason)


def _taken(
    ctx: RunContext, plan: Plan, *guards: Guard, or_dead: bool = False
) -> Drop | Literal[False] | None:
    """Take the key: None, run; False, look again; a verdict where this run has lost its message.

    The message's ending frees the key, so it is taken only while the message has one to come.
    """
    held = Leased(ctx.id, ctx.fence)
    accepted = plan.accepted(ctx.task.name, keep_result=ctx.envelope.keep_result)
    add = Add(plan.key, accepted, holder=ctx.id, or_dead=or_dead)
    applied = ctx.store.apply((held, *guards, add), ())
    if applied.ok:
        return None
    if applied.found is not None and applied.found.guard == held:
        return Drop("this run has lost its message")  # and the key with it; nobody hears this verdict
    return False


def _own(ctx: RunContext, entry: Entry) -> Verdict | None:
    """Run, unless a newer run of this message has done it while this one was held up."""
    if entry.state != "done":
        return None
    note(ctx).joined = True
    who = f"its run of fence {entry.fence}" if entry.fence else "another run"
    return Drop(f"the message was done by {who}")


def _holder(ctx: RunContext, entry: Entry) -> Record | None:
    """The record of the message that has the key, where its end is not told by the entry."""
    return ctx.app.broker.get(entry.id) if entry.state == "accepted" or entry.elsewhere else None


def _is_orphan(value: Value, entry: Entry, holder: Record | None) -> bool:
    """Whether the record names a message that never ended and does not exist."""
    return entry.state == "accepted" and holder is None and value.expires is None


def _other(ctx: RunContext, plan: Plan, entry: Entry, holder: Record | None, count: Count) -> Verdict:
    if differs(plan, entry):
        count("mismatches")
        return _failed(mismatch(plan, entry, ctx.task.name))
    if holder is not None and holder.state in _LIVE:
        count("conflicts")
        text = f"message {entry.id} ({holder.state}) has the key of this call"
        if plan.in_progress == "snooze":
            return later(ctx, text)
        return _failed(IdempotencyInProgress(text, key=plan.key, existing_id=entry.id))
    ended = holder or entry.record(queue=ctx.queue)
    if ended is None:
        return Drop(f"message {entry.id} did this call; its result is past its life")
    count("replays")
    if ended.state == "done":
        value = None if ended.value is None else ctx.task.compiled.decode_result(ended.value)
        return Done(value)
    if ended.state == "failed":
        return Fail(f"message {entry.id} failed with this key: {ended.reason}")
    return Drop(f"message {entry.id} was dropped with this key: {ended.reason}")


def _failed(error: BaseException) -> Fail:
    verdict = Fail(f"{type(error).__name__}: {error}")
    verdict.__cause__ = error
    return verdict
