"""What hooks and tasks may add to a publish, a settlement or an ending: checked where it is added.

A broker would only find out in the middle of a batch, or at an ending that nobody watches.
"""

from __future__ import annotations

from typing import Any

from reliq.errors import HookError
from reliq.wire.message import (
    Absent,
    Add,
    AtVersion,
    CancelMessage,
    Equals,
    FollowUp,
    Incr,
    IndexPut,
    IndexRemove,
    Leased,
    NotLeased,
    Put,
    Remove,
    Touch,
)

GUARDS = frozenset({Add, Absent, Equals, AtVersion, NotLeased, Leased})
_EFFECTS = frozenset({Put, Remove, Touch, Incr, CancelMessage, IndexPut, IndexRemove})
_PUBLISH = GUARDS | _EFFECTS
_LATER = _EFFECTS | {FollowUp}
_ENDINGS = ("done", "failed", "dropped", "any")
_MAX_KEY = 512
_NAMES = ("key", "index", "member", "id", "holder")
_TEXTS: dict[type, tuple[str, ...]] = {
    kind: tuple(name for name in _NAMES if name in kind.__struct_fields__) for kind in _PUBLISH | _LATER
}


def check_publish(item: Any) -> None:
    """A guard or an effect."""
    _check(item, _PUBLISH, "with_publish takes guards and effects")


def check_replay(item: Any) -> None:
    """A guard."""
    _check(item, GUARDS, "on_replay takes guards")


def check_settlement(item: Any) -> None:
    """An effect or a follow-up."""
    _check(item, _LATER, "with_settlement takes effects and follow-ups")


def check_ending(verdict_class: str, items: tuple[Any, ...]) -> None:
    """Effects and follow-ups, for one of the classes of endings."""
    if verdict_class not in _ENDINGS:
        raise HookError(f"on_end({verdict_class!r}, ...): an ending is one of {', '.join(_ENDINGS)}")
    for item in items:
        _check(item, _LATER, "on_end takes effects and follow-ups")


def _check(item: Any, kinds: frozenset[type], what: str) -> None:
    kind = type(item)
    if kind not in kinds:
        raise HookError(f"{what}, got {item!r}")
    for name in _TEXTS[kind]:
        text = getattr(item, name)
        if type(text) is str and text.isascii() and 0 < len(text) <= _MAX_KEY:
            continue  # nearly always
        if (text is not None or name != "holder") and not _is_key(text):
            raise HookError(f"{name}={text!r} of {type(item).__name__}: text of 1 to {_MAX_KEY} characters")


def _is_key(text: object) -> bool:
    if not isinstance(text, str) or not 1 <= len(text) <= _MAX_KEY:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
