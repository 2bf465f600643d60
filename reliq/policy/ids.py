"""Message ids: random ones ordered by time, derived ones for follow-ups, and the rules for chosen ones."""

from __future__ import annotations

import os
import re
import time
import uuid

from reliq.errors import OptionError

MAX_ID = 255
_BATCH = 256
_NAMESPACE = uuid.UUID("6f2b7c1e-0d5b-5a7e-9a57-7e11b0c4d1a3")
_RANDOM = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class IdSource:
    """Makes UUIDv7 text (RFC 9562): 48 bits of milliseconds, 74 random bits.

    The random ends are drawn in batches; `list.pop` is atomic, so threads need no lock.  `forget` throws the rest of a
    batch away: a forked child must, or it would repeat its parent's ids.
    """

    def __init__(self) -> None:
        self._ends: list[str] = []
        self._begin = (0, "")  # the last millisecond and its text, replaced as one

    def new(self) -> str:
        now = time.time_ns() // 1_000_000
        begin = self._begin
        if begin[0] != now:
            text = f"{now:012x}"
            self._begin = begin = (now, f"{text[:8]}-{text[8:]}-7")
        try:
            return begin[1] + self._ends.pop()
        except IndexError:
            ends = _draw()
            end = ends.pop()
            self._ends.extend(ends)
            return begin[1] + end

    def forget(self) -> None:
        self._ends = []


def _draw() -> list[str]:
    digits = os.urandom(10 * _BATCH).hex()
    return [
        f"{digits[i : i + 3]}-{'89ab'[int(digits[i + 3], 16) & 3]}{digits[i + 4 : i + 7]}-{digits[i + 7 : i + 19]}"
        for i in range(0, 20 * _BATCH, 20)
    ]


_source = IdSource()
new_id = _source.new
"""A fresh random id, 36 characters, ordered by time to the millisecond."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_source.forget)


def follow_up_id(parent_id: str, n: int) -> str:
    """The id of the n-th message that follows from another: the same every time, so publishing it twice is once."""
    return str(uuid.uuid5(_NAMESPACE, f"{parent_id}/{n}"))


def is_random(id: str) -> bool:
    """Whether the id has the form that `new_id` gives; others were chosen and are remembered for longer."""
    return _RANDOM.fullmatch(id) is not None


def check_id(id: str) -> str:
    """A chosen id as it is, or `OptionError`: 1 to 255 characters, none of them a control character."""
    if not isinstance(id, str):
        raise OptionError(f"A task id is text, not a `{type(id).__name__}`; pass str(...)")
    if not 1 <= len(id) <= MAX_ID:
        raise OptionError(
            f"A task id has 1 to {MAX_ID} characters, this one has {len(id)}; pass a digest of it"
        )
    if found := _CONTROL.search(id):
        raise OptionError(
            f"A task id has no control characters, this one has {found[0]!r} at position {found.start()}"
        )
    return id
