"""A parent's result put before the arguments of a callback, without decoding either."""

from __future__ import annotations

from reliq.errors import UndecodableMessage


def splice(body: bytes, value: bytes) -> bytes:
    """The body with an already encoded JSON `value` as its new first positional argument.

    `[[1],{}]` and `7` give `[[7,1],{}]`.  Only bytes are moved, so an engine's script can do the same.  Raises
    `UndecodableMessage` when `body` is not in the compact form that `encode` writes, or `value` is empty.
    """
    if body[:2] != b"[[" or not value:
        raise UndecodableMessage(
            f"Cannot put a value of {len(value)} bytes before a body that begins {body[:2]!r}"
        )
    rest = body[2:]
    return b"[[" + value + rest if rest[:1] == b"]" else b"[[" + value + b"," + rest
