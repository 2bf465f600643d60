"""The lock: a guard of the publish, an effect of every ending."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

from reliq import Drop, Join, Middleware, PublishContext, Retry, RunContext, Snooze, Task, Verdict, keys
from reliq.errors import GuardRefused
from reliq.ports import Add, Published, Remove, Touch
from reliq_once.errors import AlreadyQueued
from reliq_once.options import Once

HEADER = "reliq-once"


class QueueOnceMiddleware(Middleware):
    """Locks for tasks with `base=QueueOnce`, and in an app's list for every task that has `once=`."""

    name = "once"
    options = frozenset({"once"})

    def __init__(self, *, always: bool = False) -> None:
        self.always = always

    def check_options(self, task: Task[..., Any], options: dict[str, Any]) -> None:
        """Refuse unknown options and key names where the task is defined."""
        if "once" in options:
            once = Once.build(options["once"], where=f"Task {task.name!r}")
            keys.check_keys(task.signature.parameters, once.keys, task=f"Task {task.name!r}")

    def publish(self, ctx: PublishContext) -> Generator[None, Published, Drop | Join | None]:
        """Take the lock with the publish; a taken one raises or, with `graceful`, rejects."""
        if not self.always and "once" not in ctx.options:
            yield
            return None
        once = Once.build(ctx.options.get("once"), where=f"Task {ctx.task.name!r}")
        key = "once:" + keys.digest(ctx.task.name, ctx.bound(), keys=once.keys)
        ttl = int(once.timeout * 1000)
        ctx.headers[HEADER] = f"{ttl}{'s' if once.unlock_before_run else 'd'}{key}"
        ctx.with_publish(Add(key, ctx.task.name.encode(), ttl=ttl, holder=ctx.id, from_due=True))
        ctx.on_end("any", Remove(key, holder=ctx.id))
        try:
            yield
        except GuardRefused as refused:
            if getattr(refused.guard, "key", None) != key:
                raise
            conflict = _conflict(ctx.task.name, key, refused)
            if not once.graceful:
                raise conflict from None
            drop = Drop(conflict.message)
            drop.existing_id = conflict.existing_id  # type: ignore[attr-defined]
            return drop
        return None

    def prerun(self, ctx: RunContext) -> None:
        """With `unlock_before_run`, free the lock now; the ending's removal stays as the net."""
        lock = _lock(ctx)
        if lock is not None and lock[1]:
            ctx.store.store_drop(lock[2], holder=ctx.id)

    def settling(self, ctx: RunContext, verdict: Verdict) -> None:
        """A message that runs again later keeps its lock until then and a timeout more."""
        if isinstance(verdict, Retry | Snooze):
            lock = _lock(ctx)
            if lock is not None and not lock[1]:
                ctx.with_settlement(Touch(lock[2], ttl=lock[0], holder=ctx.id, from_due=True))


def _lock(ctx: RunContext) -> tuple[int, bool, str] | None:
    """Life, whether freed at the start, and key of this message's lock: as published, never computed again."""
    header = ctx.headers.get(HEADER)
    if header is None:
        return None
    head, _, key = header.partition("once:")
    return int(head[:-1]), head[-1] == "s", "once:" + key


def _conflict(task: str, key: str, refused: GuardRefused) -> AlreadyQueued:
    found = refused.found
    holder = found.value.holder if found.value else None
    expires = found.value.expires if found.value else None
    countdown = None if expires is None else max(0.0, expires / 1000 - time.time())
    text = f"{task} is queued already: message {holder} ({found.state or 'unknown'}) holds the key; reliq why {holder}"
    return AlreadyQueued(
        text, countdown=countdown, message=text, existing_id=holder, key=key, state=found.state
    )
