"""What the scripts are given: values as MessagePack without its binary type, which Redis' library does not know.

Bytes inside a blob travel as text in which each character is one byte (Latin-1); payloads, results and errors are
arguments of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import astuple

from reliq.engines.redis.rows import row_end
from reliq.errors import UndecodableMessage
from reliq.ports.values import Found, Publication, Settled, Settlement, Value
from reliq.wire.codec import encode
from reliq.wire.message import Effect, Envelope, FollowUp, Guard, Incr, Put, Remove, Touch
from reliq.wire.splice import splice

WINDOW = 60_000  # ms in which the same random id is a duplicate
CHOSEN_WINDOW = 86_400_000
NO_LIMIT = 1 << 62

_encoder = msgspec.msgpack.Encoder()
pack = _encoder.encode
unpack = msgspec.msgpack.Decoder().decode
_TAGS = {kind: kind.__struct_config__.tag for union in (Guard, Effect) for kind in union.__args__}
_ON_RECORDS = (Put, Remove, Touch, Incr)


def _places(name: str) -> dict[type[Any], int]:
    """Where a field stands in the rows of those that have it."""
    return {kind: 1 + kind.__struct_fields__.index(name) for kind in _TAGS if name in kind.__struct_fields__}


_HOLDERS: dict[type[Any], int] = {kind: _places("holder")[kind] for kind in (Put, Remove, Touch)}
_VALUES = _places("value")  # all bytes that there are


def item(envelope: Envelope, end: str | int, on_end: str | int = "") -> tuple[Any, ...]:
    """An envelope as lua/lib/newborn.lua takes it; `end` and `on_end` as text, or as the number of an argument."""
    return (
        envelope.id,
        end,
        envelope.queue,
        envelope.priority,
        -1 if envelope.eta is None else max(envelope.eta, 0),
        -1 if envelope.delay is None else envelope.delay,
        -1 if envelope.expires is None else max(envelope.expires, 0),
        -1 if envelope.expires_in is None else max(envelope.expires_in, 0),
        -1 if envelope.expires_after_due is None else max(envelope.expires_after_due, 0),
        on_end,
    )


def is_plain(given: Publication) -> bool:
    """Whether it is due at once, does not expire and holds nothing."""
    envelope = given.envelope
    return (
        envelope.eta is None
        and envelope.delay is None
        and envelope.expires is None
        and envelope.expires_in is None
        and envelope.expires_after_due is None
        and not (envelope.on_end or given.guards or given.effects)
    )


def runs(given: Sequence[Publication], arguments: list[bytes], first: int) -> list[list[Any]]:
    """Plain publications as publish_plain.lua takes them; the ends of their rows join `arguments`."""
    numbers: dict[bytes, int] = {}
    found: list[list[Any]] = []
    for publication in given:
        envelope = publication.envelope
        end = row_end(envelope, _window(envelope))
        number = numbers.get(end)
        if number is None:
            arguments.append(end)
            number = numbers[end] = first + len(arguments) - 1
        if not found or found[-1][0] != number:
            found.append([number, envelope.queue, envelope.priority, []])
        found[-1][3].append(envelope.id)
    return found


def publication(given: Publication, arguments: list[bytes], first: int) -> tuple[Any, ...]:
    """Any publication as publish.lua takes it; bytes that it names join `arguments`, numbered from `first`."""
    envelope = given.envelope
    arguments.append(row_end(envelope, _window(envelope)))
    end = first + len(arguments) - 1
    on_end: str | int = ""
    if envelope.on_end:
        arguments.append(_brought(envelope))
        on_end = end + 1
    return (*item(envelope, end, on_end), rows(given.guards) or None, rows(given.effects) or None)


def settlements(
    given: Sequence[Settlement], arguments: list[bytes], first: int, *, by: str = ""
) -> list[Any]:
    """Verdicts as lua/lib/settle.lua takes them; those of one claim that are simply done are one item.

    Values and errors join `arguments`, numbered from `first`.
    """
    items: list[Any] = []
    run: tuple[Any, ...] | None = None  # what those of the last item share, when it is of many
    for one in given:
        receipt = one.receipt
        if not _is_plain_done(one):
            items.append(_settlement(one, arguments, first))
            run = None
            continue
        valued, put = one.value is not None, _own_put(one)
        acts = None if not one.effects else "many" if put is None else put.ttl
        if one.value is not None:
            arguments.append(one.value)
        if run == (receipt.fence, receipt.owner, valued, acts):
            items[-1][1].append(receipt.id)
        else:
            run = (receipt.fence, receipt.owner, valued, acts)
            owner = None if receipt.owner == by else receipt.owner
            values = first + len(arguments) - 1 if valued else None
            columns: Any = None if put is None else (put.ttl, [], [])
            items.append(
                (receipt.fence, [receipt.id], owner, values, [] if acts == "many" else None, columns)
            )
        if put is not None:
            items[-1][5][1].append(put.key)
            items[-1][5][2].append(put.value.decode("latin-1"))
        elif acts is not None:
            items[-1][4].append(rows(one.effects))
    return items


def weights(given: Sequence[Settlement]) -> list[int]:
    """The bytes of each, about."""
    return [
        len(one.value or b"") + len(one.error or b"") + (_more(one) if one.effects or one.follow_ups else 0)
        for one in given
    ]


def _more(given: Settlement) -> int:
    return len(pack((rows(given.effects), given.follow_ups)))


def _is_plain_done(given: Settlement) -> bool:
    return given.kind == "done" and given.error is None and given.reason is None and not given.follow_ups


def _own_put(given: Settlement) -> Put | None:
    """The one thing that it does besides: it completes a record of its message, which then lives for a time."""
    effect = given.effects[0] if len(given.effects) == 1 else None
    if type(effect) is not Put or effect.ttl is None or effect.from_due or effect.holder != given.receipt.id:
        return None
    return effect


def _settlement(given: Settlement, arguments: list[bytes], first: int) -> tuple[Any, ...]:
    receipt = given.receipt
    places: list[int | None] = []
    for bytes_ in (given.value, given.error):
        if bytes_ is None:
            places.append(None)
        else:
            arguments.append(bytes_)
            places.append(first + len(arguments) - 1)
    return (
        receipt.id,
        receipt.fence,
        receipt.owner,
        given.kind,
        text(given.reason),
        given.after,
        None if given.at is None else max(given.at, 0),
        *places,
        rows(given.effects) or None,
        [_follow_up(after) for after in given.follow_ups] or None,
    )


def rows(given: Sequence[Guard] | Sequence[Effect]) -> list[list[Any]]:
    """Guards or effects: the tag, then the fields."""
    return [_row(one) for one in given]


def _row(one: Guard | Effect) -> list[Any]:
    kind = type(one)
    row = [_TAGS[kind], *astuple(one)]
    place = _VALUES.get(kind)
    if place is not None and row[place] is not None:
        row[place] = row[place].decode("latin-1")
    return row


def found(guards: Sequence[Guard], told: Sequence[Any]) -> Found:
    """What lua/lib/guards.lua tells of the guard that refused."""
    number, data, version, expires, holder, state, due = told
    value = None if data is False else Value(data.encode("latin-1"), version, expires or None, holder or None)
    return Found(guards[number], value, state or None, None if due is False else due)


def value(told: Any) -> Value | None:
    """A record of lua/lib/records.lua."""
    if not told:
        return None
    data, version, expires, holder = told[:4]
    return Value(data.encode("latin-1"), version, expires or None, holder or None)


def text(given: str | None) -> str | None:
    """A text as a row can keep it: a zero would end it."""
    return given if given is None or "\0" not in given else given.replace("\0", "\ufffd")


def _window(envelope: Envelope) -> int:
    return CHOSEN_WINDOW if envelope.chosen else WINDOW


def _brought(envelope: Envelope) -> bytes:
    """What a message brings along for its end, as lua/lib/endings.lua reads it: a plan, and keys that it numbers.

    Messages of one task have their plan in common, which the server then unpacks once for many.
    """
    keys: dict[str, int] = {}
    plan = [
        (
            ending.on,
            [_planned(effect, envelope.id, keys) for effect in ending.effects],
            [_follow_up(after) for after in ending.follow_ups],
        )
        for ending in envelope.on_end
    ]
    text = pack(plan)
    parts = [len(text).to_bytes(4, "little"), text]
    for key in keys:
        raw = key.encode()
        parts += (len(raw).to_bytes(4, "little"), raw)
    return b"".join(parts)


def _planned(effect: Effect, id: str, keys: dict[str, int]) -> list[Any]:
    """An effect with a number for its key, and True for its own message as the holder."""
    row, kind = _row(effect), type(effect)
    if kind in _ON_RECORDS:
        row[1] = keys.setdefault(row[1], len(keys) + 1)
    place = _HOLDERS.get(kind)
    if place is not None and row[place] == id:
        row[place] = True
    return row


def _follow_up(after: FollowUp) -> tuple[Any, ...]:
    envelope = after.envelope
    accepted = item(
        envelope,
        row_end(envelope, _window(envelope)).decode("latin-1"),
        _brought(envelope).decode("latin-1") if envelope.on_end else "",
    )
    payload = encode(envelope, limit=NO_LIMIT)
    if not after.takes:
        return (accepted, "", payload.decode("latin-1"))
    try:
        splice(envelope.body, b"null")
    except UndecodableMessage:
        return (accepted, "", payload.decode("latin-1"))
    # The body is the fifth field; its end is found by what it becomes when it is empty.
    head = 3 + sum(len(pack(field)) for field in (envelope.v, envelope.id, envelope.task, envelope.queue))
    body = pack(envelope.body)
    parts = (payload[:head], envelope.body, payload[head + len(body) :])
    return (accepted, after.takes, *(part.decode("latin-1") for part in parts))


def listed(told: bytes) -> list[Any]:
    """A list that a script packed: its library packs an empty table as a map."""
    return unpack(told) or []


def settled(given: Sequence[Settlement], told: int | list[int] | dict[Any, Any]) -> list[Settled]:
    """Answers of claim.lua and settle.lua; a number: so many were simply applied."""
    if isinstance(told, int):
        return [Settled(one.receipt.id, "applied") for one in given]
    return [_settled(one, answer) for one, answer in zip(given, told or (), strict=True)]


def _settled(given: Settlement, told: int) -> Settled:
    """An answer of lua/lib/settle.lua."""
    if told >= 0:
        return Settled(given.receipt.id, "applied", told)
    return Settled(given.receipt.id, "repeated" if told == -1 else "stale")
