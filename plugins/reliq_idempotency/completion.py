"""How a record is completed: the effect that rides in the settlement."""

from __future__ import annotations

import msgspec

from reliq import Done, Fail, RunContext
from reliq.errors import SoftTimeLimitExceeded
from reliq.ports import ErrorInfo, Put
from reliq_idempotency.entry import Entry
from reliq_idempotency.plan import Plan
from reliq_idempotency.running import note

_MAX_TEXT = 2_000
_pack = msgspec.msgpack.Encoder().encode


def effect(ctx: RunContext, plan: Plan, verdict: Done | Fail) -> Put | None:
    """Write the result or a failure that is to be kept; None leaves the record to the message's ending."""
    entry = _done(ctx, plan, verdict) if isinstance(verdict, Done) else _failed(ctx, plan, verdict)
    return None if entry is None else Put(plan.key, entry.encode(), ttl=plan.ttl, holder=ctx.id)


def _done(ctx: RunContext, plan: Plan, verdict: Done) -> Entry:
    result: bytes | None = None
    if verdict.value is not None and ctx.envelope.keep_result:
        result = ctx.task.compiled.encode_result(verdict.value)
    elsewhere = result is not None and len(result) > plan.max_result
    return Entry(
        "done",
        ctx.id,
        ctx.task.name,
        plan.fingerprint,
        fence=ctx.fence,
        at=ctx.app.clock.now_ms(),
        result=None if elsewhere else result,
        elsewhere=elsewhere,
        trace=plan.trace,
    )


def _failed(ctx: RunContext, plan: Plan, verdict: Fail) -> Entry | None:
    error = note(ctx).error
    if plan.failures is None or (plan.failures == "permanent" and _may_pass(verdict, error)):
        return None
    return Entry(
        "failed",
        ctx.id,
        ctx.task.name,
        plan.fingerprint,
        fence=ctx.fence,
        at=ctx.app.clock.now_ms(),
        reason=verdict.reason,
        error=None if error is None else _pack(_described(error)),
        trace=plan.trace,
    )


def _may_pass(verdict: Fail, error: BaseException | None) -> bool:
    """Whether the same call could go well another time: retries ran out, or the time did."""
    return verdict.gave_up or isinstance(error, SoftTimeLimitExceeded)


def _described(error: BaseException) -> ErrorInfo:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        text = str(error)[:_MAX_TEXT].encode("utf-8", "backslashreplace").decode()
    except Exception:
        text = f"<{kind.__name__} without a text: its __str__ failed>"
    return ErrorInfo(name, text)
