"""What a call says of itself is true, also when something else fails beside it."""

from __future__ import annotations

import errno
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reliq.engines.sqlite import SqliteEngine, connection
from reliq.errors import BrokerUnavailable
from reliq.ports.values import Publication

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
