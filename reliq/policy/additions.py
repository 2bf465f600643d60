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
OF_A_PUBLISH = GUARDS | _EFFECTS
OF_AN_ENDING = _EFFECTS | {FollowUp}
ENDINGS = ("done", "failed", "dropped", "any")
_MAX_KEY = 512
_NAMES = ("key", "index", "member", "id", "holder")
_TEXTS: dict[type, tuple[str, ...]] = {
    kind: tuple(name for name in _NAMES if name in kind.__struct_fields__)
    for kind in OF_A_PUBLISH | OF_AN_ENDING
}


def check(item: Any, kinds: frozenset[type], what: str) -> None:
    """`HookError` unless it is one of these kinds, with texts that can be keys; `what` says what is taken there."""
    kind = type(item)
    if kind not in kinds:
        raise HookError(f"{what}, got {item!r}")
    for name in _TEXTS[kind]:
        text = getattr(item, name)
        if type(text) is str and text.isascii() and 0 < len(text) <= _MAX_KEY:
            continue  # nearly always
        if (text is not None or name != "holder") and not _is_key(text):
            raise HookError(f"{name}={text!r} of {kind.__name__}: text of 1 to {_MAX_KEY} characters")


def _is_key(text: object) -> bool:
    if not isinstance(text, str) or not 1 <= len(text) <= _MAX_KEY:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
