"""The lock: a guard of the publish, an effect of every ending."""

from __future__ import annotations

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

    def check_options(self, task: Task[..., Any], options: dict[str, Any]) -> None:
        """Refuse unknown options and key names where the task is defined."""
        if "once" in options:
            once = Once.build(options["once"], where=f"Task {task.name!r}")
            keys.check_keys(task.compiled.parameters, once.keys, task=f"Task {task.name!r}")

    def publish(self, ctx: PublishContext) -> Generator[None, Published, Drop | Join | None]:
        """Take the lock with the publish; a taken one raises or, with `graceful`, rejects."""
        once = _once(ctx)
        if once is None:
            yield
            return None
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
            conflict = _conflict(ctx, key, refused)
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


def _once(ctx: PublishContext) -> Once | None:
    """What holds for this call: the task's options with those of the call over them."""
    where, own = f"Task {ctx.task.name!r}", ctx.task.middleware_options.get("once")
    given = ctx.options.get("once")
    if given is None and own is None and not getattr(type(ctx.task), "always_once", False):
        return None
    once = Once.build(own, where=where)
    return once if given is own or given is None else once.over(given, where=where)


def _conflict(ctx: PublishContext, key: str, refused: GuardRefused) -> AlreadyQueued:
    found = refused.found
    holder = found.value.holder if found.value else None
    expires = found.value.expires if found.value else None
    countdown = None if expires is None else max(0.0, (expires - ctx.app.clock.now_ms()) / 1000)
    state = found.state or "unknown"
    text = f"{ctx.task.name} is queued already: message {holder} ({state}) holds the key; reliq why {holder}"
    return AlreadyQueued(
        text, countdown=countdown, message=text, existing_id=holder, key=key, state=found.state
    )
