"""A tenacity policy made durable: its wait is a due time in the broker, not a sleep in a worker."""

from __future__ import annotations

import time
from typing import Any

from reliq.errors import OptionError
from reliq.policy.decide import given_up
from reliq.verdicts import Fail, Retry, Verdict


def check(policy: Any, *, where: str) -> Any:
    """The policy itself; `OptionError` unless it is a `tenacity.Retrying` or the like."""
    if isinstance(policy, type) or not all(
        callable(getattr(policy, part, None)) for part in ("stop", "wait", "retry")
    ):
        raise OptionError(f"{where}: retry_with takes tenacity.Retrying(stop=..., wait=...), got {policy!r}")
    return policy


def on_error(policy: Any, error: BaseException, *, retries: int, age: float) -> Verdict:
    """The verdict of a tenacity policy on an error.

    retries  those made so far; age  seconds since the message was published, for `stop_after_delay`.
    The policy's callbacks, its `sleep` and `reraise` have no meaning here.
    """
    from tenacity import RetryCallState

    state = RetryCallState(retry_object=policy, fn=None, args=(), kwargs={})
    state.attempt_number = retries + 1
    state.start_time = time.monotonic() - age
    state.set_exception((type(error), error, error.__traceback__))
    text = f"{type(error).__name__}: {error}"
    if not policy.retry(state):
        return Fail(text)
    wait = float(policy.wait(state)) if policy.wait else 0.0
    state.upcoming_sleep = wait
    if policy.stop(state):
        return given_up(f"{text} (after {retries} {'retry' if retries == 1 else 'retries'})")
    return Retry(wait, reason=text)
