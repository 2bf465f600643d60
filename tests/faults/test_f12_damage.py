"""F12: one message in ten is damaged; no worker dies of it, none swells, and each ends in quarantine."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reliq.errors import WireError
from reliq.policy.ids import new_id
from reliq.wire.codec import decode, encode
from reliq.wire.message import WIRE_VERSION, Envelope
from reliq.wire.typed import compile_signature
from tests.faults import damage, fault_app
from tests.faults.rig import Rig

EXTRA = 64 * 1024 * 1024


def damage_the_flow(rig: Rig, *, tasks: int, timeout: float) -> None:
    dice = random.Random(rig.seed)
    ids = rig.publish(fault_app.work, ((number,) for number in range(tasks)))
    damaged = damage.damage(rig.ground, dice.sample(ids, tasks // 10), dice)
    with rig.fleet(size=1) as fleet:
        rig.await_drained(timeout)
        rig.publish(fault_app.work, [(0,)])
        rig.await_drained(10)
        family = fleet.workers[0].tree()
        peak, before = (max(_memory(p.pid, name) for p in family) for name in ("VmHWM", "VmRSS"))
        fleet.stop()
    assert len(re.findall(r"child \d+ started", fleet.log())) == 1, "no child has died"
    report = rig.check(max_crashes=0)
    assert (report.done, report.failed) == (tasks - len(damaged) + 1, len(damaged))
    for id, way in damaged.items():
        record = rig.engine.get(id)
        assert record.state == "failed", f"{way}: {record}"
        assert re.match("undecodable: |arguments do not fit: ", record.reason), f"{way}: {record.reason}"
        assert record.payload or way == "empty", f"{way}: the raw bytes are kept"
    print(f"peak {peak / 1e6:.0f} MB, at the end {before / 1e6:.0f} MB")
    assert peak < 45e6 + EXTRA


def _memory(pid: int, name: str) -> int:
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        pytest.skip("the peak of a process's memory is read from /proc")
    found = re.search(rf"{name}:\s+(\d+) kB", status.read_text())
    assert found
    return int(found[1]) * 1024


def test_damaged_messages_are_quarantined(rig: Rig) -> None:
    damage_the_flow(rig, tasks=300, timeout=40)


@pytest.mark.full
@pytest.mark.timeout(900)
def test_thousands_of_damaged_messages_are_quarantined(rig: Rig) -> None:
    damage_the_flow(rig, tasks=20_000, timeout=800)


# --- the decoder alone ---

GOOD = encode(
    Envelope(v=WIRE_VERSION, id=new_id(), task="shop.rebuild", queue="mail", body=b'[[7,"import"],{}]')
)


def decode_or_refuse(data: bytes) -> None:
    try:
        envelope = decode(data)
    except WireError:
        return
    assert isinstance(envelope, Envelope) and envelope.v == WIRE_VERSION


@given(st.binary(max_size=2000))
@settings(deadline=None)
def test_any_bytes_are_an_envelope_or_refused(data: bytes) -> None:
    decode_or_refuse(data)


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
@settings(deadline=None)
def test_one_changed_byte_is_an_envelope_or_refused(at: int, byte: int) -> None:
    decode_or_refuse(GOOD[:at] + bytes([byte]) + GOOD[at + 1 :])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
@settings(deadline=None)
def test_any_message_pack_is_an_envelope_or_refused(value: object) -> None:
    import msgspec

    decode_or_refuse(msgspec.msgpack.encode(value))
    decode_or_refuse(msgspec.msgpack.encode([WIRE_VERSION, "id", "task", "queue", value]))


@pytest.mark.parametrize("way", damage.WAYS)
def test_each_way_of_damage_is_refused_by_the_decoder_or_by_the_signature(way: object) -> None:
    signature = compile_signature(fault_app.work.func, name="work")
    dice = random.Random(1)
    for _ in range(20):
        damaged = way(GOOD, dice)  # type: ignore[operator]
        with pytest.raises((WireError, TypeError, ValueError)):
            signature.decode(decode(damaged).body)


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_any_bytes_are_arguments_or_refused(body: bytes) -> None:
    signature = compile_signature(fault_app.work.func, name="work")
    try:
        args, kwargs = signature.decode(body)
    except (WireError, TypeError, ValueError):
        return
    assert isinstance(args, tuple) and isinstance(kwargs, dict)
