"""What follows from how a run went: pure decisions, no I/O, no clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from reliq.verdicts import Drop, Fail, Retry, Snooze, Verdict

CLASSES = ("done", "retry", "snooze", "dropped", "failed")


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
        return Fail(_told(error))
    if exhausted(policy.max_retries, retries):
        return given_up(f"{_told(error)} (after {retries} {'retry' if retries == 1 else 'retries'})")
    return Retry(reason=_told(error))


def bounded(verdict: Verdict, policy: RetryPolicy, *, retries: int, age: float, max_snooze: float) -> Verdict:
    """The verdict within its bounds: no retry beyond `max_retries`, no snooze past `max_snooze` seconds of age.

    A Retry may carry a `max_retries` of its own, from `self.retry(max_retries=...)`.
    """
    if isinstance(verdict, Retry):
        limit = verdict.__dict__.get("max_retries", policy.max_retries)
        if exhausted(limit, retries):
            why = f": {verdict.reason}" if verdict.reason else ""
            return given_up(f"asked for a retry, but max_retries is {limit}{why}")
    if isinstance(verdict, Snooze) and age > max_snooze:
        why = f": {verdict.reason}" if verdict.reason else ""
        return given_up(f"snoozed for {age:.0f} s, max_snooze is {max_snooze:.0f} s{why}")
    return verdict


def given_up(reason: str) -> Fail:
    """The failure of what would have been tried again but for a limit."""
    fail = Fail(reason)
    fail.gave_up = True
    return fail


def exhausted(limit: int | None, retries: int) -> bool:
    return limit is not None and retries >= limit


def expected(error: BaseException, throws: Sequence[type[BaseException]]) -> bool:
    """Whether the task declared this error as a normal outcome: it still fails, but is not logged as a fault."""
    return isinstance(error, tuple(throws)) if throws else False


def class_of(verdict: Verdict) -> str:
    """Of CLASSES: the word a settlement carries."""
    if isinstance(verdict, Retry):
        return "retry"
    if isinstance(verdict, Snooze):
        return "snooze"
    if isinstance(verdict, Drop):
        return "dropped"
    if isinstance(verdict, Fail):
        return "failed"
    return "done"


def text_of(error: BaseException) -> str:
    """`str(error)`, whatever the error makes of that, as text that can be stored."""
    try:
        return storable(str(error))
    except Exception:
        return f"<{type(error).__name__} without a text: its __str__ failed>"


def storable(text: str, limit: int | None = None) -> str:
    """The text, cut, and with what has no UTF-8 (file names may have such) written as escapes."""
    text = text[:limit]
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _told(error: BaseException) -> str:
    message = text_of(error)
    kind = type(error).__name__
    return f"{kind}: {message}"[:500] if message else kind
