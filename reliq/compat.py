"""Every name of Celery's that people bring along: it works, it says what to use, or it says "not yet".

One table drives both the behaviour and `docs/reference/celery-names.md`; nothing is silently ignored.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from reliq.errors import OptionError


class Name(NamedTuple):
    """How one of Celery's names stands here.

    works    as `to` (the same name when empty); `text` says what differs
    always   what it asks for is always so; any other value than those in `values` is refused with `text`
    use      refused; `text` says what to use instead
    not_yet  refused; it is planned
    """

    status: Literal["works", "always", "use", "not_yet"]
    to: str = ""
    text: str = ""
    values: tuple[Any, ...] = ()


TASK_OPTIONS: dict[str, Name] = {
    "autoretry_for": Name("works", "retry_on"),
    "dont_autoretry_for": Name("works", "dont_retry_on"),
    "retry_kwargs": Name(
        "works", text="its max_retries, and its countdown as default_retry_delay"
    ),
    "retry_backoff": Name("works"),
    "retry_backoff_max": Name("works"),
    "retry_jitter": Name("works"),
    "default_retry_delay": Name("works"),
    "max_retries": Name("works"),
    "bind": Name("works"),
    "base": Name("works"),
    "name": Name("works"),
    "throws": Name("works"),
    "ignore_result": Name("works"),
    "time_limit": Name("works"),
    "soft_time_limit": Name("works"),
    "queue": Name("works"),
    "priority": Name("works"),
    "expires": Name("works"),
    "acks_late": Name("always", text="a message is settled after it ran, always", values=(True, None)),
    "acks_on_failure_or_timeout": Name(
        "always", text="every ending settles the message", values=(True, None)
    ),
    "reject_on_worker_lost": Name(
        "always", text="a message whose worker died runs again, always", values=(True, None)
    ),
    "track_started": Name("always", text="every claim is recorded", values=(True, None)),
    "store_errors_even_if_ignored": Name("always", text="errors are always recorded", values=(True, None)),
    "serializer": Name("always", text="arguments travel as JSON", values=("json", None)),
    "typing": Name("always", text="arguments are checked against the signature, always", values=(True, None)),
    "rate_limit": Name("not_yet", text="global rate limits are planned"),
    "compression": Name("not_yet", text="compression of bodies is planned"),
    "pydantic": Name("not_yet", text="use a dataclass or a msgspec.Struct as annotation meanwhile"),
    "trail": Name("use", text="the record keeps root and parent of every message; drop the option"),
    "resultrepr_maxsize": Name("use", text="values are not logged unless asked for; drop the option"),
    "request_stack": Name("use", text="use reliq.current()"),
    "run": Name("use", text="decorate the function itself"),
}

CALL_OPTIONS: dict[str, Name] = {
    "countdown": Name("works"),
    "eta": Name("works"),
    "expires": Name("works"),
    "priority": Name("works"),
    "queue": Name("works"),
    "headers": Name("works"),
    "task_id": Name("works"),
    "link": Name("works"),
    "link_error": Name("works"),
    "ignore_result": Name("works"),
    "time_limit": Name("works"),
    "soft_time_limit": Name("works"),
    "root_id": Name("works"),
    "parent_id": Name("works"),
    "routing_key": Name("use", text="name the queue: queue="),
    "exchange": Name("use", text="name the queue: queue="),
    "exchange_type": Name("use", text="name the queue: queue="),
    "serializer": Name("always", text="arguments travel as JSON", values=("json", None)),
    "retry": Name("always", text="a publish is tried again until its deadline of 5 s", values=(True, None)),
    "retry_policy": Name("use", text="a publish is tried again until its deadline of 5 s, then raises"),
    "add_to_parent": Name("use", text="parent and root are always recorded; drop the option"),
    "compression": Name("not_yet", text="compression of bodies is planned"),
    "chord": Name("not_yet", text="workflows are planned"),
    "group_id": Name("not_yet", text="workflows are planned"),
    "connection": Name("use", text="an app has one broker; make another app"),
    "producer": Name("use", text="an app has one broker; make another app"),
    "publisher": Name("use", text="an app has one broker; make another app"),
    "delivery_mode": Name("use", text="durability is the broker's: see the URL option `durability`"),
    "mandatory": Name("always", text="a publish is confirmed or raises", values=(True, None)),
    "shadow": Name("not_yet", text="a display name per call is planned"),
    "stamped_headers": Name("use", text="use headers="),
}


def translate(
    given: Mapping[str, Any], table: Mapping[str, Name], known: Iterable[str], *, where: str
) -> dict[str, Any]:
    """The options under our names; `OptionError` for one that does not exist, with the nearest that does."""
    known = set(known)
    result: dict[str, Any] = {}
    for name, value in given.items():
        entry = table.get(name)
        if entry is None:
            if name not in known:
                raise OptionError(_unknown(name, {*known, *table}, where))
            result[name] = value
        elif entry.status == "works":
            result[entry.to or name] = value
        elif entry.status == "always":
            if value not in entry.values:
                raise OptionError(f"{where}: {name}={value!r} is not possible: {entry.text}")
        elif entry.status == "use":
            raise OptionError(f"{where}: {name!r} has no meaning here: {entry.text}")
        else:
            raise OptionError(f"{where}: {name!r} is not there yet: {entry.text}")
    return result


def _unknown(name: str, names: Iterable[str], where: str) -> str:
    near = difflib.get_close_matches(name, sorted(names), n=1, cutoff=0.6)
    hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(sorted(names))}"
    return f"{where} has no option {name!r}{hint}"
