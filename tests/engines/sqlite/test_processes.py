"""Several processes on one file: killed in the middle, racing, forked, woken."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reliq.engines.sqlite import SqliteEngine, connection
from reliq.errors import BrokerUnavailable, ForkedConnection
from reliq.ports.values import Publication, Settlement

Make = Callable[..., Publication]
Opened = Callable[..., SqliteEngine]
Start = Callable[[str], Any]


def test_a_process_killed_in_a_transaction_leaves_nothing_of_it(
    engine: SqliteEngine, process: Start, publication: Make
) -> None:
    engine.publish([publication("before")])
    engine.register("owner", 30)
    other = process("""
engine._link._db.execute("BEGIN IMMEDIATE")
engine._link._db.execute("UPDATE message SET state = 4")
engine._link._db.execute("DELETE FROM owner")
say("in the middle")
hear()
""")
    assert other.hear() == "in the middle"
    other.kill()
    assert [d.receipt.id for d in engine.claim("owner", ["q"], limit=1, seq=1).deliveries] == ["before"]
    assert engine.audit().balanced


def test_processes_killed_again_and_again_lose_nothing_that_was_confirmed(
    engine: SqliteEngine, process: Start, file: Path
) -> None:
    script = """
owner = f"owner-{os.getpid()}"
engine.register(owner, 30)
say(owner)
seq, settlements = 0, []
while True:
    for answer in engine.publish([publication() for _ in range(5)]):
        say(answer.id)
    seq += 1
    claimed = engine.claim(owner, ["q"], limit=3, seq=seq, settlements=settlements)
    settlements = [Settlement(delivery.receipt, "done") for delivery in claimed.deliveries]
"""
    confirmed: set[str] = set()
    for _ in range(5):
        others = [process(script) for _ in range(2)]
        owners = [other.hear() for other in others]
        for other in others:
            confirmed.update(other.hear() for _ in range(50))
        for other, owner in zip(others, owners, strict=True):
            other.kill()
            engine.bury(owner, started=None)
        assert engine.audit().balanced
        assert engine._link.read(lambda execute: execute("PRAGMA integrity_check").fetchone()) == ("ok",)
    assert len(confirmed) == 500
    assert all(engine.get(id) is not None for id in confirmed)


@pytest.mark.xdist_group("sqlite-shares")
def test_two_processes_share_a_queue_and_run_each_message_once(
    engine: SqliteEngine, process: Start, publication: Make
) -> None:
    for _ in range(100):
        engine.publish([publication() for _ in range(100)])
    others = [
        process("""
owner = f"owner-{os.getpid()}"
engine.register(owner, 30)
say("ready")
hear()
seq, settlements, count = 0, [], 0
while True:
    seq += 1
    claimed = engine.claim(owner, ["q"], limit=50, seq=seq, settlements=settlements)
    if not claimed.deliveries:
        break
    count += len(claimed.deliveries)
    settlements = [Settlement(delivery.receipt, "done") for delivery in claimed.deliveries]
say(count)
""")
        for _ in range(2)
    ]
    for other in others:
        assert other.hear() == "ready"
    for other in others:
        other.say("go")
    counts = [int(other.hear()) for other in others]
    assert sum(counts) == 10_000
    assert min(counts) >= 2_500, f"unfair: {counts}"  # 60:40 on a quiet machine
    assert engine.audit().states["done"] == 10_000


def test_an_idle_process_is_woken_by_another_ones_publish(
    engine: SqliteEngine, process: Start, publication: Make
) -> None:
    other = process("""
engine.register("owner", 30)
say("ready")
for seq in range(1, 100):
    claimed = engine.claim("owner", ["q"], limit=1, seq=seq, wait=1.0)
    for delivery in claimed.deliveries:
        say(time.monotonic_ns())
        engine.settle([Settlement(delivery.receipt, "done")])
""")
    assert other.hear() == "ready"
    late = []
    for _ in range(20):
        _until(lambda: _waiting(engine))
        begun = time.monotonic_ns()
        engine.publish([publication()])
        late.append((int(other.hear()) - begun) / 1e6)
    assert sorted(late)[10] < 50, late  # ms; under 1 on a quiet machine


def test_a_due_message_starts_on_time_while_all_idle(engine: SqliteEngine, publication: Make) -> None:
    engine.register("owner", 30)
    engine.publish([publication(delay=150)])
    begun = time.monotonic()
    claimed = engine.claim("owner", ["q"], limit=1, seq=1, wait=1.0)
    assert len(claimed.deliveries) == 1
    assert 0.14 <= time.monotonic() - begun < 0.6


def test_a_due_message_published_meanwhile_starts_on_time(
    engine: SqliteEngine, opened: Opened, publication: Make
) -> None:
    engine.register("owner", 30)
    answers: list[Any] = []

    def idle() -> None:
        answers.append((engine.claim("owner", ["q"], limit=1, seq=1, wait=1.0), time.monotonic()))

    idler = threading.Thread(target=idle)
    idler.start()
    _until(lambda: _waiting(engine))
    opened().publish([publication(delay=100)])
    begun = time.monotonic()
    idler.join(10)
    claimed, ended = answers[0]
    assert len(claimed.deliveries) == 1
    assert ended - begun < 0.6


def test_the_wake_of_a_dead_idler_is_passed_on(
    engine: SqliteEngine, process: Start, publication: Make
) -> None:
    other = process("""
engine.register("owner-dead", 30)
engine.claim("owner-dead", ["q"], limit=1, seq=1, wait=0.9)
""")
    _until(lambda: _waiting(engine))
    other.kill()
    engine.register("owner", 30)
    answers: list[Any] = []
    idler = threading.Thread(
        target=lambda: answers.append(engine.claim("owner", ["q"], limit=1, seq=1, wait=1.0))
    )
    idler.start()
    _until(lambda: _waiting(engine, 2))
    engine.publish([publication()])
    idler.join(10)
    assert len(answers[0].deliveries) == 1


def test_a_wait_for_an_ending_is_woken_by_it(engine: SqliteEngine, opened: Opened, publication: Make) -> None:
    engine.publish([publication("waited-for")])
    answers: list[Any] = []
    waiter = threading.Thread(target=lambda: answers.append(engine.wait("waited-for", 30)))
    waiter.start()
    _until(lambda: _waiting(engine))
    other = opened()
    other.register("owner", 30)
    (delivery,) = other.claim("owner", ["q"], limit=1, seq=1).deliveries
    other.settle([Settlement(delivery.receipt, "done", value=b"7")])
    waiter.join(10)
    assert (answers[0].state, answers[0].value) == ("done", b"7")


def test_a_long_path_has_its_sockets_in_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, publication: Make
) -> None:
    from reliq.engines.sqlite import connect

    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    engine = connect(f"sqlite:///{folder}/reliq.db")
    engine.register("owner", 30)
    idler = threading.Thread(target=lambda: engine.claim("owner", ["q"], limit=1, seq=1, wait=1.0))
    idler.start()
    _until(lambda: _waiting(engine))
    assert not list(folder.glob("*.wake"))
    engine.publish([publication()])
    idler.join(10)
    engine.close()


def test_a_fork_is_refused_and_harms_nothing(engine: SqliteEngine, publication: Make) -> None:
    engine.publish([publication("a")])
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        refused = 0
        for call in (
            lambda: engine.get("a"),
            lambda: engine.publish([publication()]),
            lambda: engine.claim("owner", ["q"], limit=1, seq=1, wait=1.0),
            lambda: engine.store_get("key"),
            engine.audit,
        ):
            try:
                call()
            except ForkedConnection:
                refused += 1
            except BaseException:
                break
        engine.close()
        os.write(writer, str(refused).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reader, 10) == b"5"
    os.close(reader)
    os.close(writer)
    engine.publish([publication("b")])
    assert engine.audit().accepted == 2


def test_a_file_locked_for_too_long_is_unavailable_and_nothing_happened(
    engine: SqliteEngine, process: Start, publication: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "DEADLINE", 0.3)
    other = process("""
engine._link._db.execute("BEGIN IMMEDIATE")
say("locked")
hear()
engine._link._db.execute("ROLLBACK")
say("free")
hear()
""")
    assert other.hear() == "locked"
    begun = time.monotonic()
    with pytest.raises(BrokerUnavailable, match="locked by another process") as refused:
        engine.publish([publication()])
    assert 0.3 <= time.monotonic() - begun < 2
    assert refused.value.certain  # type: ignore[attr-defined]
    assert engine.audit().accepted == 0  # one may still read
    other.say("go on")
    assert other.hear() == "free"
    assert engine.publish([publication()])[0].status == "accepted"


def _waiting(engine: SqliteEngine, count: int = 1) -> bool:
    found: int = engine._link.read(lambda execute: execute("SELECT count(*) FROM waiter").fetchone()[0])
    return found >= count


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_reap_removes_the_sockets_of_killed_processes_only(engine: SqliteEngine, process: Start) -> None:
    engine.register("alive", 30)
    engine.claim("alive", ["q"], limit=1, seq=1, wait=0.01)
    folder = engine._waking._folder
    (ours,) = os.listdir(folder)
    other = process("""
engine.register("killed", 30)
engine.claim("killed", ["q"], limit=1, seq=1, wait=0.01)
say("idle")
hear()
""")
    assert other.hear() == "idle"
    other.kill()
    assert len(os.listdir(folder)) == 2
    engine.reap()
    assert os.listdir(folder) == [ours]
