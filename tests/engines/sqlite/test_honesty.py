"""What a call says of itself is true, also when something else fails beside it."""

from __future__ import annotations

import errno
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from reliq.engines.sqlite import SqliteEngine, connection
from reliq.errors import BrokerUnavailable
from reliq.ports.values import Publication
from reliq.wire.message import Add, CancelMessage, Put, Remove

Make = Callable[..., Publication]


@pytest.fixture
def locked(file: Path, engine: SqliteEngine) -> sqlite3.Connection:
    """A stranger that can lock the file."""
    return sqlite3.connect(file, isolation_level=None, check_same_thread=False)


def idler_that_died(engine: SqliteEngine) -> None:
    engine._link._db.execute(
        "INSERT INTO waiter (address, until, queues) VALUES ('/nowhere', 9e15, '[\"q\"]')"
    )


def test_an_accepted_message_is_not_called_refused_because_its_wake_could_not_be_passed_on(
    engine: SqliteEngine, locked: sqlite3.Connection, publication: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "DEADLINE", 0.2)
    idler_that_died(engine)
    send = engine._waking.send

    def then_locked(address: str) -> bool:
        locked.execute("BEGIN IMMEDIATE")
        return send(address)

    monkeypatch.setattr(engine._waking, "send", then_locked)
    assert engine.publish([publication("a")])[0].status == "accepted"
    locked.execute("ROLLBACK")
    assert engine.get("a") is not None


def test_an_accepted_message_is_not_called_refused_because_no_socket_could_be_opened(
    engine: SqliteEngine, publication: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    idler_that_died(engine)
    monkeypatch.setattr("socket.socket", refuse)
    assert engine.publish([publication("a")])[0].status == "accepted"


def test_a_call_whose_answer_could_not_be_read_is_not_certain(
    engine: SqliteEngine, publication: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "DEADLINE", 0.05)

    def busy(*_: object) -> None:
        error = sqlite3.OperationalError("database is locked")
        error.sqlite_errorcode = sqlite3.SQLITE_BUSY
        raise error

    engine.publish([publication("a")])
    engine.register("owner", 30)
    monkeypatch.setattr("reliq.engines.sqlite.claim.read_batch", busy)
    with pytest.raises(BrokerUnavailable) as failed:
        engine.claim("owner", ["q"], limit=1, seq=1)
    assert not failed.value.certain  # type: ignore[attr-defined]
    monkeypatch.undo()
    assert len(engine.claim("owner", ["q"], limit=1, seq=1).deliveries) == 1  # the same batch again


def test_threads_do_not_add_up_their_patience_with_a_locked_file(
    engine: SqliteEngine, locked: sqlite3.Connection, publication: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "DEADLINE", 0.5)
    took: list[float] = []

    def publish() -> None:
        begun = time.monotonic()
        with pytest.raises(BrokerUnavailable, match="locked by another process"):
            engine.publish([publication()])
        took.append(time.monotonic() - begun)

    locked.execute("BEGIN IMMEDIATE")
    threads = [threading.Thread(target=publish) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    locked.execute("ROLLBACK")
    assert len(took) == 6
    assert max(took) < 1.5  # 3 s, one after the other


@pytest.mark.parametrize("neighbours", [2, 30])
@pytest.mark.parametrize(
    "changes",
    [
        {"id": "half \udc80"},
        {"delay": 2**63},
        {"priority": 2**63},
        {"keep": None},
        {"queue": ["q"]},
        {"effects": (Remove("half \udc80"),)},
        {"effects": (CancelMessage("first", "replaced"), Put("key", object()))},  # type: ignore[arg-type]
        {"guards": (Add("half \udc80"),)},
    ],
    ids=["id", "delay", "priority", "keep", "queue", "effect", "effects", "guard"],
)
def test_what_cannot_be_written_is_refused_alone_and_leaves_no_trace(
    engine: SqliteEngine, publication: Make, changes: dict[str, Any], neighbours: int
) -> None:
    engine.publish([publication("first", delay=1000)])
    fields = {"id": "odd", **changes}
    more = {name: fields.pop(name) for name in ("effects", "guards") if name in fields}
    odd = replace(publication(**fields), **more)
    batch = [publication() for _ in range(neighbours)]
    answers = engine.publish([*batch[:1], odd, *batch[1:]])
    assert [a.status for a in answers] == ["accepted", "refused", *["accepted"] * (neighbours - 1)]
    assert answers[1].error
    audit = engine.audit()
    assert audit.balanced and audit.accepted == neighbours + 1
    assert engine.get("first").state == "due" and engine.get("odd") is None  # type: ignore[union-attr]
