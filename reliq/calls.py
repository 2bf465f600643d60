"""Call options, from what a user writes to what an envelope carries."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo

from reliq.compat import CALL_OPTIONS, translate
from reliq.errors import OptionError
from reliq.options import is_storable, priority, queue_name, seconds
from reliq.policy.ids import check_id
from reliq.schedule.instants import countdown_ms, to_ms
from reliq.tasks import CALL_NAMES, Signature

if TYPE_CHECKING:
    from reliq.app import Reliq
    from reliq.tasks import Task


def normalise(app: Reliq, task: Task[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Check every option and convert it; options of middleware are gathered under `middleware`."""
    if not options:
        return {}
    where = f"Call of {task.name!r}"
    owned = app.options_of(task)
    given = translate(options, CALL_OPTIONS, CALL_NAMES | owned, where=where)
    given = {k: v for k, v in given.items() if v is not None or k in owned}
    call: dict[str, Any] = {}
    mine = {k: given.pop(k) for k in list(given) if k in owned}
    if mine:
        for m in app.chain_members(task):
            m.check_options(task, {k: v for k, v in mine.items() if k in m.options})
        call["middleware"] = mine
    if "eta" in given and "countdown" in given:
        raise OptionError(f"{where}: give eta= or countdown=, not both")
    for name, value in given.items():
        _CONVERT[name](app, call, value, where)
    if "soft_time_limit" in call or "time_limit" in call:
        _check_limits(app, task, call, where)
    return call


def _check_limits(app: Reliq, task: Task[..., Any], call: Mapping[str, Any], where: str) -> None:
    soft = call.get("soft_time_limit") or task.options.soft_time_limit or app.conf.soft_time_limit
    hard = call.get("time_limit") or task.options.time_limit or app.conf.time_limit
    if soft is not None and hard is not None and soft >= hard:
        raise OptionError(f"{where}: soft_time_limit={soft} must be below time_limit={hard}")


def _zone(app: Reliq) -> ZoneInfo | None:
    return ZoneInfo(app.conf.timezone) if app.conf.naive == "app_timezone" else None


def _naive(app: Reliq) -> Literal["refuse", "app_timezone"]:
    return "app_timezone" if app.conf.naive == "app_timezone" else "refuse"


def _expression(where: str) -> str:
    """`Call of 'shop.greet'` as one writes it, for an error that shows the corrected call."""
    return f"{where.removeprefix('Call of ').strip(chr(39))}.apply_async"


def _eta(app: Reliq, call: dict[str, Any], value: Any, where: str) -> None:
    call["eta"] = to_ms(value, name="eta", call=_expression(where), naive=_naive(app), zone=_zone(app))


def _countdown(app: Reliq, call: dict[str, Any], value: Any, where: str) -> None:
    call["delay"] = countdown_ms(value)


def _expires(app: Reliq, call: dict[str, Any], value: Any, where: str) -> None:
    if isinstance(value, datetime):
        call["expires"] = to_ms(
            value, name="expires", call=_expression(where), naive=_naive(app), zone=_zone(app)
        )
    else:
        call["expires_in"] = _span(value, where, "expires")


def _expires_after_due(app: Reliq, call: dict[str, Any], value: Any, where: str) -> None:
    call["expires_after_due"] = _span(value, where, "expires_after_due")


def _span(value: float | timedelta, where: str, name: str) -> int:
    return int(seconds(value, where=where, name=name) * 1000)


def _priority(app: Reliq, call: dict[str, Any], value: Any, where: str) -> None:
    call["priority"] = priority(value, where=where)


def _queue(app: Reliq, call: dict[str, Any], value: Any, where: str) -> None:
    call["queue"] = queue_name(value, where=where)


def _headers(app: Reliq, call: dict[str, Any], value: Any, where: str) -> None:
    if not isinstance(value, Mapping) or not all(
        isinstance(k, str) and isinstance(v, str) for k, v in value.items()
    ):
        raise OptionError(f"{where}: headers map texts to texts, got {value!r}")
    if not all(is_storable(k) and is_storable(v) for k, v in value.items()):
        raise OptionError(f"{where}: headers are texts that have UTF-8, got {value!r}")
    call["headers"] = dict(value)


def _id(app: Reliq, call: dict[str, Any], value: Any, where: str) -> None:
    call["id"] = check_id(value)


def _links(name: str) -> Any:
    def convert(app: Reliq, call: dict[str, Any], value: Any, where: str) -> None:
        links = value if isinstance(value, list | tuple) else (value,)
        for link in links:
            if not isinstance(link, Signature):
                raise OptionError(f"{where}: {name} takes a call such as other.s(), got {link!r}")
        call[name] = tuple(links)

    return convert


def _limit(name: str) -> Any:
    def convert(app: Reliq, call: dict[str, Any], value: Any, where: str) -> None:
        call[name] = seconds(value, where=where, name=name)

    return convert


def _plain(name: str, kind: type) -> Any:
    def convert(app: Reliq, call: dict[str, Any], value: Any, where: str) -> None:
        if not isinstance(value, kind):
            raise OptionError(f"{where}: {name} takes a {kind.__name__}, got {value!r}")
        call[name] = value

    return convert


_CONVERT: dict[str, Any] = {
    "eta": _eta,
    "countdown": _countdown,
    "expires": _expires,
    "expires_after_due": _expires_after_due,
    "priority": _priority,
    "queue": _queue,
    "headers": _headers,
    "task_id": _id,
    "id": _id,
    "link": _links("link"),
    "link_error": _links("link_error"),
    "soft_time_limit": _limit("soft_time_limit"),
    "time_limit": _limit("time_limit"),
    "ignore_result": _plain("ignore_result", bool),
    "root_id": lambda app, call, value, where: call.__setitem__("root", check_id(value)),
    "parent_id": lambda app, call, value, where: call.__setitem__("parent", check_id(value)),
}
