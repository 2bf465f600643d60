"""Envelopes to bytes and back, with the limits checked before anything is parsed."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from reliq.errors import MessageTooLarge, UndecodableMessage, UnknownWireVersion
from reliq.wire.message import WIRE_VERSION, Ending, Envelope
from reliq.wire.received import Received

HARD_MAX_MESSAGE = 1024 * 1024  # the app's own limit, `max_message`, is checked at the publisher
MAX_HEADERS = 8 * 1024

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Envelope)
_received: msgspec.msgpack.Decoder[Envelope] = msgspec.msgpack.Decoder(Received)
_endings = msgspec.msgpack.Decoder(tuple[Ending, ...])
_DAMAGED = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)  # the last: a text that is no UTF-8


def encode(envelope: Envelope, *, limit: int = HARD_MAX_MESSAGE) -> bytes:
    """The envelope as bytes; `MessageTooLarge` beyond `limit` bytes."""
    data = _encoder.encode(envelope)
    if len(data) > limit:
        raise MessageTooLarge(
            f"Message {envelope.id} of task {envelope.task!r} has {len(data):,} bytes, the limit is {limit:,}; "
            "store large data elsewhere and pass a reference to it",
            size=len(data),
            limit=limit,
        )
    return data


def encode_many(envelopes: Iterable[Envelope], *, limit: int = HARD_MAX_MESSAGE) -> list[bytes]:
    """All of them as bytes; one that cannot be encoded, or is too large, is an error for all."""
    encoded = list(map(_encoder.encode, envelopes))
    if encoded and max(map(len, encoded)) > limit:
        raise MessageTooLarge(f"A message beyond the limit of {limit:,} bytes", limit=limit)
    return encoded


def decode(data: bytes, *, limit: int = HARD_MAX_MESSAGE) -> Envelope:
    """The envelope in `data`; `UndecodableMessage` names what is wrong with it."""
    return _decoded(_decoder, data, limit)


def decode_received(data: bytes, *, limit: int = HARD_MAX_MESSAGE) -> Envelope:
    """The same for a run; its `on_end` and `on_replay` are only decoded when they are asked for."""
    return _decoded(_received, data, limit)


def _decoded(decoder: msgspec.msgpack.Decoder[Envelope], data: bytes, limit: int) -> Envelope:
    if len(data) > limit:
        raise MessageTooLarge(
            f"A message of {len(data):,} bytes, the limit is {limit:,}", size=len(data), limit=limit
        )
    try:
        envelope = decoder.decode(data)
    except _DAMAGED as error:
        raise _explain(data, error) from error
    if envelope.v != WIRE_VERSION:
        raise UnknownWireVersion(
            f"Message {envelope.id} has wire version {envelope.v}, this reliq reads version {WIRE_VERSION}; "
            "upgrade the workers before the publishers",
            version=envelope.v,
        )
    return envelope


def encode_endings(endings: tuple[Ending, ...]) -> bytes | None:
    """The `on_end` of an envelope for a column of its own, so that it counts even where the envelope is damaged."""
    return _encoder.encode(endings) if endings else None


def decode_endings(data: bytes | None) -> tuple[Ending, ...]:
    return _endings.decode(data) if data else ()


def _explain(data: bytes, error: Exception) -> UndecodableMessage:
    try:
        values = msgspec.msgpack.decode(data)
    except _DAMAGED:
        return UndecodableMessage(f"{len(data):,} bytes that are no MessagePack: {error}")
    version = values[0] if isinstance(values, list) and values else None
    if isinstance(version, int) and not isinstance(version, bool) and version != WIRE_VERSION:
        return UnknownWireVersion(
            f"A message with wire version {version}, this reliq reads version {WIRE_VERSION}; "
            "upgrade the workers before the publishers",
            version=version,
        )
    return UndecodableMessage(f"MessagePack, but not an envelope: {error}")
