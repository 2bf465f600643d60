"""An envelope as a worker reads it: what only an ending or a replay asks for stays encoded until somebody does."""

from __future__ import annotations

from typing import Any

import msgspec

from reliq.wire.message import Ending, Envelope, Guard

_LATER: dict[str, Any] = {
    "on_end": msgspec.msgpack.Decoder(tuple[Ending, ...]),
    "on_replay": msgspec.msgpack.Decoder(tuple[Guard, ...]),
}
_EMPTY = msgspec.Raw(msgspec.msgpack.encode(()))


def _field(field: msgspec.structs.FieldInfo) -> tuple[Any, ...]:
    if field.name in _LATER:
        return f"{field.name}_", msgspec.Raw, _EMPTY
    if field.default_factory is not msgspec.NODEFAULT:
        return field.name, field.type, msgspec.field(default_factory=field.default_factory)
    if field.default is not msgspec.NODEFAULT:
        return field.name, field.type, field.default
    return field.name, field.type


def _later(name: str) -> property:
    return property(lambda self: _LATER[name].decode(getattr(self, f"{name}_")))


#: The same fields in the same order as `Envelope`, and encoded the same; decoding all of a message with a lock and an
#: idempotency key took longer than running it.
Received: Any = msgspec.defstruct(
    "Received",
    [_field(field) for field in msgspec.structs.fields(Envelope)],
    namespace={name: _later(name) for name in _LATER},
    frozen=True,
    array_like=True,
    gc=False,
)
