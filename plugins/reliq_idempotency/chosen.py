"""The key of a call: which options hold for it, and the plan that follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec

from reliq import PublishContext, Task, keys
from reliq.errors import OptionError, UnkeyableArgument
from reliq_idempotency.options import Idempotent
from reliq_idempotency.plan import PREFIX, Plan

MAX_KEY = 1024  # bytes: a key is an identity, not a document
_UNSAID = object()

#: The arguments of a call by name; asked for only where they count.
Bound: TypeAlias = Callable[[], Mapping[str, Any]]


def options_for(
    defaults: Idempotent, task: Task[..., Any], call: Mapping[str, Any] | None = None
) -> Idempotent | None:
    """The app's options, under the task's, under the call's; None where `idempotency=False` has the last word."""
    where = f"Task {task.name!r}"
    effective: Idempotent | None = defaults
    own = task.middleware_options.get("idempotency")
    given = (call or {}).get("idempotency")
    for said in (own, None if given is own else given):
        if said is False:
            effective = None
        elif said is not None:
            effective = (effective or defaults).over(said, where=where)
    return effective


def check(options: Idempotent, task: Task[..., Any]) -> None:
    """`OptionError` for an argument name that no call of the task can have."""
    keys.check_keys(task.compiled.parameters, options.named, task=f"Task {task.name!r}")


def check_key(value: object, *, where: str) -> None:
    """`OptionError` unless this can be the key of a call."""
    if value is None or (isinstance(value, str | tuple) and value):
        check_size(value, f"{where}: idempotency_key")
        return
    raise OptionError(
        f"{where}: idempotency_key is a text or a tuple that is not empty (None: no key for this call), got {value!r}"
    )


def check_size(value: object, who: str) -> None:
    """`UnkeyableArgument` for a key that is rather a document."""
    try:
        size = len(value.encode()) if isinstance(value, str) else len(msgspec.json.encode(value))
    except (TypeError, ValueError, RecursionError):
        return  # `keys.digest_value` names what is wrong with it
    if size > MAX_KEY:
        raise UnkeyableArgument(
            f"{who} has {size:,} bytes, the limit is {MAX_KEY:,}: give what identifies the call (an id, a hash), not "
            "its content"
        )


def plan_for(options: Idempotent, ctx: PublishContext, *, given: object = _UNSAID) -> Plan | None:
    """The plan of a call, or None when it has no key.

    given  the call's own key, over those of the options
    """
    inside = ctx.inside if options.scope == "parent" else None
    parent = None if inside is None else inside.id
    digest = digest_for(options, ctx.task, ctx.args, ctx.kwargs, ctx.bound, given=given, parent=parent)
    if digest is None:
        return None
    # A key that is made of all arguments leaves none to compare.
    is_whole = options.keys == "all" and given is _UNSAID
    return Plan(
        1,
        ctx.id,
        PREFIX + digest,
        None if is_whole else _fingerprint(options, ctx.task, ctx.bound),
        options.ttl_ms,
        options.replay_failures,
        options.on_in_progress,
        options.max_result,
        ctx.trace,
    )


def digest_for(
    options: Idempotent,
    task: Task[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    bound: Bound,
    *,
    given: object = _UNSAID,
    parent: str | None = None,
) -> str | None:
    """The key of a call, or None when it has none."""
    if given is _UNSAID and options.key is not None:
        given = _computed(options.key, task.name, args, kwargs)
    namespace = options.namespace
    if options.scope == "parent" and parent is not None:
        namespace = f"{namespace}\n{parent}"
    if given is not _UNSAID:
        if given is None:
            return None
        check_key(given, where=f"Task {task.name!r}")
        return keys.digest_value(task.name, given, namespace=namespace)  # type: ignore[arg-type]
    if options.keys is None:
        return None
    names = None if options.keys == "all" else options.keys
    return keys.digest(task.name, bound(), namespace=namespace, keys=names)


def _computed(
    function: Callable[..., Any], task: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> object:
    """What a key function gives; `UnkeyableArgument` when it fails, or gives what can be no key."""
    who = f"The key function {getattr(function, '__qualname__', repr(function))} of {task}"
    try:
        value = function(*args, **kwargs)
    except Exception as error:
        raise UnkeyableArgument(
            f"{who} raised {type(error).__name__}: {error}; nothing was published"
        ) from error
    if value is not None and not (isinstance(value, str | tuple) and value):
        given = f"gave {value!r}" if isinstance(value, str | tuple) else f"gave a {type(value).__name__}"
        raise UnkeyableArgument(
            f"{who} {given}; give a text or a tuple that is not empty, or None for no key"
        )
    check_size(value, who)
    return value


def _fingerprint(options: Idempotent, task: Task[..., Any], bound: Bound) -> str | None:
    names = options.fingerprint
    if names is None:
        return None
    try:
        return keys.digest(
            task.name, bound(), namespace="fingerprint", keys=None if names == "all" else names
        )[:20]
    except UnkeyableArgument as error:
        name = error.__dict__.get("parameter")
        raise UnkeyableArgument(
            f"{task.name}: argument {name!r} cannot be compared with that of an earlier call ({error.__cause__}); name "
            'those that can with idempotency={"fingerprint": [...]}, or None to compare nothing',
            parameter=name,
        ) from error
