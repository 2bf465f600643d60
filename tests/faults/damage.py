"""Ways to damage a message where it lies."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec

from reliq.wire.codec import HARD_MAX_MESSAGE, decode, encode
from tests.faults.grounds import Ground


def noise(payload: bytes, dice: random.Random) -> bytes:
    return dice.randbytes(dice.randrange(1, 400))


def empty(payload: bytes, dice: random.Random) -> bytes:
    return b""


def truncated(payload: bytes, dice: random.Random) -> bytes:
    return payload[: dice.randrange(1, len(payload) - 40)]


def huge(payload: bytes, dice: random.Random) -> bytes:
    return b"\xdd\x7f\xff\xff\xff" + bytes(HARD_MAX_MESSAGE)  # claims to be an array of two thousand million


def deep(payload: bytes, dice: random.Random) -> bytes:
    return b"\x91" * 200_000


def no_text(payload: bytes, dice: random.Random) -> bytes:
    values = msgspec.msgpack.decode(payload)
    start = payload.index(values[dice.choice([1, 2, 3])].encode())
    return payload[:start] + b"\xff" + payload[start + 1 :]


def later_version(payload: bytes, dice: random.Random) -> bytes:
    values = msgspec.msgpack.decode(payload)
    return msgspec.msgpack.encode([999, *values[1:]])


def wrong_types(payload: bytes, dice: random.Random) -> bytes:
    values = msgspec.msgpack.decode(payload)
    values[dice.randrange(1, 5)] = {"not": ["what", "it", "was"]}
    return msgspec.msgpack.encode(values)


def no_json(payload: bytes, dice: random.Random) -> bytes:
    return _with_body(payload, b"[[1, 2")


def deep_json(payload: bytes, dice: random.Random) -> bytes:
    return _with_body(payload, b"[" * 100_000)


def wrong_arguments(payload: bytes, dice: random.Random) -> bytes:
    return _with_body(
        payload, dice.choice([b"[[],{}]", b'[["text"],{}]', b"[[1,2,3,4],{}]", b'[[1],{"x":1}]', b"null"])
    )


WAYS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    noise, empty, truncated, huge, deep, no_text, later_version, wrong_types, no_json, deep_json, wrong_arguments,
)  # fmt: skip


def _with_body(payload: bytes, body: bytes) -> bytes:
    return encode(msgspec.structs.replace(decode(payload), body=body))


def damage(ground: Ground, ids: list[str], dice: random.Random) -> dict[str, str]:
    """Damage the payloads of these messages, each way in turn; id -> what was done to it."""
    ways = {id: WAYS[number % len(WAYS)] for number, id in enumerate(ids)}
    ground.damage({id: lambda payload, way=way: way(payload, dice) for id, way in ways.items()})  # type: ignore[misc]
    return {id: way.__name__ for id, way in ways.items()}
