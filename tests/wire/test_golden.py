"""Version 1 never changes: bytes written by an older reliq are read for ever, and ours are these."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from reliq.errors import MessageTooLarge, UndecodableMessage, UnknownWireVersion
from reliq.wire import codec
from reliq.wire.message import (
    Absent,
    Add,
    AtVersion,
    CancelMessage,
    Ending,
    Envelope,
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

GOLDEN = Path(__file__).parent / "golden"

PLAIN = Envelope(
    v=1, id="01890a5d-ac96-774b-bcce-b302099a8057", task="shop.add", queue="default", body=b"[[1,2],{}]"
)
FULL = Envelope(
    v=1,
    id="order-1",
    task="shop.charge",
    queue="pay",
    body=b'[[1],{"cents":500}]',
    priority=9,
    eta=1_767_225_600_000,
    expires=1_767_229_200_000,
    expires_in=3_600_000,
    expires_after_due=60_000,
    headers={"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
    on_end=(
        Ending("any", effects=(Remove("once:k", holder="order-1"),)),
        Ending(
            "done",
            effects=(
                Put("a", b"v", ttl=1000, holder="h", from_due=True),
                Touch("b", ttl=5, holder="h", from_due=True),
                Incr("c", by=2, ttl=9),
                CancelMessage("other", "replaced"),
                IndexPut("i", "m", 7),
                IndexRemove("i", "n"),
                Remove("d", value=b"x"),
            ),
            follow_ups=(FollowUp(PLAIN, "result"),),
        ),
    ),
    max_crashes=5,
    keep=1,
    keep_failed=2,
    keep_result=False,
    chosen=True,
    soft_time_limit=1.5,
    time_limit=2.5,
    root="r",
    parent="p",
    group="g",
    on_replay=(
        Add(
            "once:k",
            b"v",
            ttl=9,
            holder="order-1",
            or_dead=False,
            from_due=True,
            replaces="r",
            or_leased=True,
        ),
        Absent("a"),
        Equals("b", b"v"),
        AtVersion("c", 3),
        NotLeased("other"),
    ),
)
DELAYED = Envelope(v=1, id="d", task="t", queue="q", delay=30_000)
LEASED = Envelope(v=1, id="l", task="t", queue="q", on_replay=(Leased("other", 1_767_225_600_000_000),))
CASES = {"plain": PLAIN, "full": FULL, "delayed": DELAYED, "leased": LEASED}


@pytest.mark.parametrize("name", CASES)
def test_an_envelope_is_these_bytes_and_they_are_that_envelope(name: str) -> None:
    golden = (GOLDEN / f"v1_{name}.hex").read_text().strip()
    assert codec.encode(CASES[name]).hex() == golden
    assert codec.decode(bytes.fromhex(golden)) == CASES[name]


def test_values_after_the_known_ones_are_ignored() -> None:
    values = msgspec.msgpack.decode(codec.encode(PLAIN))
    assert codec.decode(msgspec.msgpack.encode([*values, "from the future"])) == PLAIN


def test_missing_values_take_their_defaults() -> None:
    values = msgspec.msgpack.decode(codec.encode(PLAIN))[:5]
    assert codec.decode(msgspec.msgpack.encode(values)) == PLAIN


def test_an_envelope_from_before_a_field_was_appended_is_read() -> None:
    values = msgspec.msgpack.decode(codec.encode(FULL))
    assert codec.decode(msgspec.msgpack.encode(values[:27])) == msgspec.structs.replace(FULL, on_replay=())


def test_another_version_is_named() -> None:
    values = msgspec.msgpack.decode(codec.encode(PLAIN))
    for data in (msgspec.msgpack.encode([2, *values[1:]]), msgspec.msgpack.encode([2, {"other": "shape"}])):
        with pytest.raises(UnknownWireVersion, match="wire version 2"):
            codec.decode(data)


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"\xc1", b"not msgpack", b"\x91", b"\x90", b"\x91\xc3", b"\x80"]
)
def test_bytes_that_are_no_envelope_are_refused(data: bytes) -> None:
    with pytest.raises(UndecodableMessage):
        codec.decode(data)


def test_deep_nesting_is_refused_without_harm() -> None:
    with pytest.raises(UndecodableMessage):
        codec.decode(b"\x91" * 200_000 + b"\x01")


def test_sizes_are_checked_before_parsing() -> None:
    with pytest.raises(MessageTooLarge, match="1,048,577"):
        codec.decode(b"\xc1" * (1024 * 1024 + 1))
    with pytest.raises(MessageTooLarge, match="shop.add"):
        codec.encode(msgspec.structs.replace(PLAIN, body=b"x" * 1_200_000))


def test_endings_travel_alone_too() -> None:
    assert codec.decode_endings(codec.encode_endings(FULL.on_end)) == FULL.on_end
    assert codec.encode_endings(()) is None
    assert codec.decode_endings(None) == ()
