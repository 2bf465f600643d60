"""The key of a call, computed once, where it is published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from reliq import PublishContext, Task, keys
from reliq.errors import UnkeyableArgument
from reliq_once.options import Once

MAX_KEY = 1024  # bytes of what a key function gives: a key is an identity, not a document


def digest_of(ctx: PublishContext, once: Once) -> str | None:
    """The digest of a call; None when its key function says that it needs no lock.

    Raises `UnkeyableArgument` for a call that has no key; nothing was published then.
    """
    if once.key is None and once.keys is not None:
        _check_elsewhere(ctx, once.keys)
    return digest(ctx.task, once, ctx.args, ctx.kwargs, ctx.bound)


def digest(task: Task[..., Any], once: Once, args: Any, kwargs: Any, bound: Any) -> str | None:
    """The same for a call that is not being published; `bound()` gives the arguments by name."""
    # Tasks that share a namespace share keys, so the name of the task is no part of them then.
    owner, namespace = (once.namespace, once.namespace) if once.namespace else (task.name, "")
    if once.key is None:
        return keys.digest(owner, bound(), namespace=namespace, keys=once.keys)
    value = _computed(task.name, once, args, kwargs)
    return None if value is None else keys.digest_value(owner, value, namespace=namespace)


def _computed(task: str, once: Once, args: Any, kwargs: Any) -> str | tuple[object, ...] | None:
    function: Any = once.key
    name = getattr(function, "__qualname__", repr(function))
    try:
        value = function(*args, **kwargs)
    except Exception as error:
        raise UnkeyableArgument(
            f"The key function {name} of {task} raised {type(error).__name__}: {error}; nothing was published"
        ) from error
    if value is None:
        return None
    if not isinstance(value, str | tuple):
        raise UnkeyableArgument(
            f"The key function {name} of {task} gave a {type(value).__name__}; give a str, a tuple, or None for no lock"
        )
    size = _size(value)
    if size > MAX_KEY:
        raise UnkeyableArgument(
            f"The key function {name} of {task} gave {size:,} bytes, the limit is {MAX_KEY:,}: give what identifies "
            "the call (an id, a hash), not its content"
        )
    return value


def _size(value: str | tuple[object, ...]) -> int:
    try:
        return len(value.encode()) if isinstance(value, str) else len(msgspec.json.encode(value))
    except (TypeError, ValueError, RecursionError):
        return 0  # `keys.digest_value` names what is wrong with it


def _check_elsewhere(ctx: PublishContext, names: Sequence[str]) -> None:
    """By position, the arguments of a task that is defined elsewhere have no names."""
    if ctx.task.name in ctx.app.tasks:
        return
    missing = [name for name in names if name not in ctx.kwargs]
    if missing:
        raise UnkeyableArgument(
            f"{ctx.task.name} is not registered here, so keys={list(names)} can only name keyword arguments, and this "
            f"call gives no {missing[0]!r}; send_task({ctx.task.name!r}, kwargs={{{missing[0]!r}: ...}})",
            parameter=missing[0],
        )
