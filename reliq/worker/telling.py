"""What `settled` hooks are told: how the transition went that a run had asked for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from reliq.context import Outcome
from reliq.policy import decide
from reliq.policy.decide import storable
from reliq.ports.values import Delivery, Settled, Settlement
from reliq.verdicts import Done, Drop, Fail, Retry, Snooze, Verdict
from reliq.worker.job import Job

Open = Callable[[Delivery], Job | Settlement]
MAX_REASON = 500
_EPOCH = datetime.fromtimestamp(0, UTC)


def tell_settled(open: Open, run: Job | Delivery, answer: Settled, settlement: Settlement) -> None:
    """Tell the `settled` hooks how the transition went.

    run         what `Job.kept` gave
    settlement  what the broker was asked for at last: not the run's verdict, if that could not be stored
    """
    job = open(run) if isinstance(run, Delivery) else run
    if isinstance(job, Settlement):
        return
    chain = job.chain
    hooks = chain.settled_applied if answer.status == "applied" else chain.told_of(answer.status)
    if not hooks:
        return
    if job is run and not chain.settled_applied:
        job = _anew(open, job)
    verdict = job.verdict
    if verdict is None or not _asks_for(settlement, verdict):
        verdict = _verdict_of(settlement)
    state = {"retry": "due", "snooze": "due"}.get(settlement.kind, settlement.kind)
    outcome = Outcome(
        id=job.ctx.id,
        task=job.task.name,
        queue=job.ctx.queue,
        state=state,
        reason=getattr(verdict, "reason", None),
        answer=answer.status,
        verdict=verdict,
        error=job.error,
        duration=job.duration,
    )
    chain.tell(hooks, job.entered, job.ctx, outcome)


def _anew(open: Open, job: Job) -> Job:
    """A run as if only its delivery had been kept, and how many were entered."""
    opened = open(job.delivery)
    if isinstance(opened, Settlement):
        return job
    opened.entered = job.entered
    return opened


def said(verdict: Verdict) -> str | None:
    """The reason that the record keeps, with the middleware that decided."""
    reason: str | None = getattr(verdict, "reason", None)
    if reason is None and verdict.by is None:
        return None
    text = storable(str(reason or type(verdict).__name__.lower()), MAX_REASON - 60)
    return text if verdict.by is None else f"{text} (decided by middleware {verdict.by!r})"


def _asks_for(settlement: Settlement, verdict: Verdict) -> bool:
    """Whether a settlement is what followed from this verdict, and nothing that took its place."""
    kind = decide.class_of(verdict)
    return settlement.kind == kind and (kind == "done" or settlement.reason == said(verdict))


def _verdict_of(settlement: Settlement) -> Verdict:
    """What was asked for; a result and an error are not known any more."""
    reason = settlement.reason
    after = None if settlement.after is None else settlement.after / 1000
    at = None if settlement.at is None else _EPOCH + timedelta(milliseconds=settlement.at)
    verdicts: dict[str, Callable[[], Verdict]] = {
        "done": Done,
        "failed": lambda: Fail(reason or ""),
        "dropped": lambda: Drop(reason or ""),
        "retry": lambda: Retry(after, at=at, reason=reason),
        "snooze": lambda: Snooze(after, at=at, reason=reason),
    }
    return verdicts[settlement.kind]()
