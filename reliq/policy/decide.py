"""What follows from how a run went: pure decisions, no I/O, no clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from reliq.verdicts import Drop, Fail, Retry, Snooze, Verdict


class RetryPolicy(Protocol):
    """What a task says about its retries."""

    @property
    def max_retries(self) -> int | None: ...
    @property
    def retry_on(self) -> tuple[type[BaseException], ...]: ...
    @property
    def dont_retry_on(self) -> tuple[type[BaseException], ...]: ...


def on_error(error: BaseException, policy: RetryPolicy, *, retries: int) -> Verdict:
    """The verdict on an exception: a retry only if the task asked for it and has one left, else a failure."""
    wanted = isinstance(error, policy.retry_on) and not isinstance(error, policy.dont_retry_on)
    if not wanted:
        return Fail(_text(error))
    if exhausted(policy, retries):
        return Fail(f"{_text(error)} (after {retries} {'retry' if retries == 1 else 'retries'})")
    return Retry(reason=_text(error))


def bounded(verdict: Verdict, policy: RetryPolicy, *, retries: int, age: float, max_snooze: float) -> Verdict:
    """The verdict within its bounds: no retry beyond `max_retries`, no snooze past `max_snooze` seconds of age."""
    if isinstance(verdict, Retry) and exhausted(policy, retries):
        why = f": {verdict.reason}" if verdict.reason else ""
        return Fail(f"asked for a retry, but max_retries is {policy.max_retries}{why}")
    if isinstance(verdict, Snooze) and age > max_snooze:
        why = f": {verdict.reason}" if verdict.reason else ""
        return Fail(f"snoozed for {age:.0f} s, max_snooze is {max_snooze:.0f} s{why}")
    return verdict


def exhausted(policy: RetryPolicy, retries: int) -> bool:
    return policy.max_retries is not None and retries >= policy.max_retries


def expected(error: BaseException, throws: Sequence[type[BaseException]]) -> bool:
    """Whether the task declared this error as a normal outcome: it still fails, but is not logged as a fault."""
    return isinstance(error, tuple(throws)) if throws else False


def class_of(verdict: Verdict) -> str:
    """done, retry, snooze, dropped or failed: the word a settlement carries."""
    if isinstance(verdict, Retry):
        return "retry"
    if isinstance(verdict, Snooze):
        return "snooze"
    if isinstance(verdict, Drop):
        return "dropped"
    if isinstance(verdict, Fail):
        return "failed"
    return "done"


def _text(error: BaseException) -> str:
    message = str(error)
    kind = type(error).__name__
    return f"{kind}: {message}"[:500] if message else kind
