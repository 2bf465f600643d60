"""A message's life in plain sentences, told from its record: what `reliq why` and `handle.why()` say."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime, tzinfo

import msgspec

from reliq.log import escape
from reliq.policy.redaction import redact
from reliq.ports.values import ENDED, ErrorInfo, Record, Transition, Value
from reliq.wire.message import Envelope

__all__ = ["held_keys", "moment", "span", "tell"]

_MAX_TRACEBACK = 24  # lines

_errors = msgspec.msgpack.Decoder(ErrorInfo)
_envelopes = msgspec.msgpack.Decoder(Envelope)


def tell(
    record: Record,
    now: int,
    *,
    holds: Sequence[tuple[str, Value]] = (),
    zone: tzinfo | None = None,
    flags: str = "",
) -> list[str]:
    """The story as lines: what it is, what happened, what comes next.

    `now` is in milliseconds, `holds` are the store's records whose holder is this message, `zone` is that of the
    times shown (None: local), `flags` those of the commands that are proposed.  Arguments and results are not told.
    """
    return [
        *_headline(record, now, zone),
        "",
        *_events(record, now, zone),
        *_next(record, now, zone, flags),
        *_holds(record, holds, now, zone),
        *_last_error(record),
    ]


def held_keys(record: Record) -> list[str]:
    """The store keys that this message frees when it ends: those it may hold."""
    try:
        envelope = _envelopes.decode(record.payload)
    except msgspec.DecodeError:
        return []
    effects = [effect for ending in envelope.on_end for effect in ending.effects]
    keys = [
        effect.key
        for effect in effects
        if getattr(effect, "holder", None) == record.id and hasattr(effect, "key")
    ]
    return list(dict.fromkeys(keys))


def span(ms: float) -> str:
    """A length of time as people say it: 250 ms, 1.2 s, 4 min 3 s, 2 h 5 min, 3 d 4 h."""
    if ms < 1000:
        return f"{ms:.0f} ms"
    seconds = ms / 1000
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def moment(at: int, now: int, zone: tzinfo | None = None, *, exact: bool = False) -> str:
    """A time of day, with the date when that is not today's; `exact` to the millisecond."""
    when, today = (datetime.fromtimestamp(ms / 1000, tz=zone).astimezone(zone) for ms in (at, now))
    text = when.strftime("%H:%M:%S") + (f".{at % 1000:03d}" if exact else "")
    return text if when.date() == today.date() else f"{when:%Y-%m-%d} {text}"


# --- the parts ---


def _headline(record: Record, now: int, zone: tzinfo | None) -> list[str]:
    what = f"{_clean(record.task) or 'A message that cannot be decoded'} ({record.id})"
    if record.state in ENDED:
        since = f" at {moment(record.ended, now, zone)}" if record.ended else ""
        verb = {"done": "is done", "failed": "failed", "dropped": "was dropped"}[record.state]
        told = f"{what} {verb}{since}"
    elif record.state == "leased":
        since = f" for {span(now - record.claimed)}" if record.claimed else ""
        told = f"{what} is with worker process {record.owner}{since}, attempt {record.attempt}"
    elif record.state == "due":
        wait = f"in {span(record.due - now)}" if record.due > now else "now"
        told = f"{what} waits until {moment(record.due, now, zone)} (due {wait})"
    else:
        told = f"{what} is ready and waits for a worker since {moment(max(record.due, record.published), now, zone)}"
    reason = f": {_clean(record.reason)}" if record.reason else "."
    counts = [
        f"queue {_clean(record.queue)}",
        f"priority {record.priority}",
        f"published {moment(record.published, now, zone)}",
        _count(record.attempt, "attempt"),
        *(_count(n, w) for n, w in ((record.retries, "retry"), (record.snoozes, "snooze")) if n),
        *([_count(record.crashes, "crash")] if record.crashes else []),
        *([f"life {record.life} (replayed)"] if record.life > 1 else []),
    ]
    return [told + reason, f"  {', '.join(counts)}"]


def _events(record: Record, now: int, zone: tzinfo | None) -> list[str]:
    if not record.transitions:
        return []
    lines = []
    began: Transition | None = None
    for index, step in enumerate(record.transitions):
        lines.append(f"  {moment(step.at, now, zone, exact=True)}  {_event(step, began, index == 0)}")
        began = step if step.to == "leased" else None
    if record.transitions[0].at > record.published:
        lines.insert(
            0,
            f"  {moment(record.published, now, zone, exact=True)}  published; later steps are not kept, but:",
        )
    return lines


def _event(step: Transition, began: Transition | None, first: bool) -> str:
    if step.to == "leased":
        return f"attempt {step.attempt} given to worker process {step.owner}"
    why = f": {_clean(step.reason)}" if step.reason else ""
    if began is None:
        return _unclaimed(step, first) + why
    ran = f"attempt {began.attempt}, {span(max(0, step.at - began.at))} after it was given out,"
    if step.to == "due":
        wait = span(max(0, step.due - step.at)) if step.due is not None else "some time"
        if step.reason == "crashed":
            return f"{ran} died with its process; again {wait} later, alone"
        if step.attempt < began.attempt:
            return f"{ran} was snoozed for {wait}{why}"
        return f"{ran} is retried {wait} later{_error(step) or why}"
    if step.to in ("given_back", "ready"):
        return f"{ran} was given back{' uncounted' if step.attempt < began.attempt else ''}{why}"
    ended = {"done": "was done", "failed": "failed for good", "dropped": "was dropped"}.get(step.to, step.to)
    return f"{ran} {ended}{why or _error(step)}"


def _unclaimed(step: Transition, first: bool) -> str:
    if step.to == "ready":
        return "accepted, ready" if first else "ready: its time had come" if not step.reason else "ready"
    if step.to == "due":
        return "accepted, waits for its time" if first else "put off"
    return {"failed": "failed", "dropped": "dropped", "done": "done"}.get(step.to, step.to)


def _next(record: Record, now: int, zone: tzinfo | None, flags: str) -> list[str]:
    said = []
    if record.cancel and record.state not in ENDED:
        said.append("It was asked to stop: it is dropped when its worker hears of it, or at its next step.")
    if record.alone and record.state != "leased":
        said.append("It took a process down before, so it is next run by a process that holds nothing else.")
    if record.expires is not None and record.state not in ENDED:
        said.append(f"It is dropped unless it begins by {moment(record.expires, now, zone)}.")
    if record.state == "ready":
        said.append(
            f"If nothing happens, no worker serves this queue, or all are busy: `reliq status{flags}` shows them."
        )
    elif record.state == "failed":
        said.append(f"Run it again with a new life: reliq dlq retry{flags} {shlex.quote(record.id)}")
    if record.gone is not None and record.state in ENDED:
        said.append(f"This record is kept until {moment(record.gone, now, zone)}.")
    return ["", *said] if said else []


def _holds(record: Record, holds: Sequence[tuple[str, Value]], now: int, zone: tzinfo | None) -> list[str]:
    lines = []
    for key, value in holds:
        until = (
            f"until it ends, at most {moment(value.expires, now, zone)}" if value.expires else "until it ends"
        )
        lines.append(f"  {_clean(key)}, {until}")
    return ["", "It holds, and others may wait for:", *lines] if lines else []


def _last_error(record: Record) -> list[str]:
    info = _decode(record.error)
    if info is None or record.state == "done":
        return []
    text = (info.traceback or f"{info.kind}: {info.message}").rstrip("\n").split("\n")
    shown = text if len(text) <= _MAX_TRACEBACK else ["...", *text[-_MAX_TRACEBACK:]]
    return ["", "Its last error:", *(f"  {_clean(line)}" for line in shown)]


def _error(step: Transition) -> str:
    info = _decode(step.error)
    if info is None:
        return ""
    kind = info.kind.rpartition(".")[2]
    return f": {kind}: {_clean(info.message)}" if info.message else f": {kind}"


def _decode(error: bytes | None) -> ErrorInfo | None:
    try:
        return _errors.decode(error) if error else None
    except msgspec.DecodeError:
        return None


def _clean(text: str) -> str:
    return redact(escape(text))


def _count(number: int, word: str) -> str:
    many = {"retry": "retries", "crash": "crashes"}.get(word, f"{word}s")
    return f"{number} {word if number == 1 else many}"
