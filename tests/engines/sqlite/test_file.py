"""Files that are not ours, newer than we are, damaged or full."""

from __future__ import annotations

import resource
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from reliq.engines.sqlite import SqliteEngine, connect
from reliq.engines.sqlite.connection import APPLICATION_ID, VERSION
from reliq.errors import BrokerError, BrokerFull, BrokerRefused, BrokerUnavailable
from reliq.ports.values import Publication, Settlement

Make = Callable[..., Publication]


def altered(file: Path, *statements: str) -> None:
    db = sqlite3.connect(file)
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()


def test_a_database_of_another_program_is_refused_and_left_alone(file: Path) -> None:
    altered(file, "CREATE TABLE songs (name)")
    before = file.read_bytes()
    with pytest.raises(BrokerRefused, match=r"another program \(tables songs\)"):
        connect(f"sqlite:///{file}")
    assert file.read_bytes() == before


def test_a_newer_version_is_refused_and_left_alone(file: Path) -> None:
    connect(f"sqlite:///{file}").close()
    altered(file, f"PRAGMA user_version = {VERSION + 1}")
    before = file.read_bytes()
    with pytest.raises(BrokerRefused, match=f"version {VERSION + 1}.*upgrade reliq"):
        connect(f"sqlite:///{file}")
    assert file.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_left_alone(file: Path) -> None:
    file.write_text("dear diary, " * 100)
    with pytest.raises(BrokerRefused, match="not a SQLite database"):
        connect(f"sqlite:///{file}")
    assert file.read_text() == "dear diary, " * 100


def test_an_empty_file_becomes_a_database_of_ours(file: Path) -> None:
    file.touch()
    connect(f"sqlite:///{file}").close()
    db = sqlite3.connect(file)
    assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)
    db.close()


def test_closing_leaves_one_file(engine: SqliteEngine, file: Path, publication: Make) -> None:
    engine.publish([publication()])
    engine.register("owner", 30)
    engine.claim("owner", ["empty"], limit=1, seq=1, wait=0.01)  # has made a socket
    engine.close()
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_full_database_refuses_whole_and_works_again_after_space_is_freed(
    engine: SqliteEngine, publication: Make
) -> None:
    engine.register("owner", 30)
    engine.publish([publication(f"kept-{number}") for number in range(50)])
    pages = engine._link.read(lambda execute: execute("PRAGMA page_count").fetchone()[0])
    engine._link.read(lambda execute: execute(f"PRAGMA max_page_count = {pages + 5}").fetchone())
    with pytest.raises(BrokerFull, match="nothing was changed"):
        engine.publish([publication(body=b"[[%d],{}]" % number) for number in range(1000)])
    assert engine.audit().accepted == 50
    assert engine.audit().balanced

    claimed = engine.claim("owner", ["q"], limit=50, seq=1)  # a full one still works off what it has
    assert len(claimed.deliveries) == 50
    engine.settle([Settlement(delivery.receipt, "done") for delivery in claimed.deliveries])
    for number in range(50):
        assert engine.remove(f"kept-{number}")
    engine._link.read(lambda execute: execute(f"PRAGMA max_page_count = {pages + 500}").fetchone())
    assert {answer.status for answer in engine.publish([publication() for _ in range(500)])} == {"accepted"}
    assert engine.audit().balanced
    assert engine._link.read(lambda execute: execute("PRAGMA integrity_check").fetchone()) == ("ok",)


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """The kernel refuses to write past `size` bytes of any file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_write_the_system_refuses_loses_nothing(
    opened: Callable[..., SqliteEngine], publication: Make
) -> None:
    engine = opened()
    accepted: list[str] = []

    def fill() -> None:
        for _ in range(1000):
            accepted.extend(answer.id for answer in engine.publish([publication() for _ in range(100)]))

    with no_file_beyond(600_000), pytest.raises(BrokerError) as refused:
        fill()
    assert str(engine._link.path) in str(refused.value)
    again = engine.publish([publication() for _ in range(100)])
    assert {answer.status for answer in again} == {"accepted"}
    audit = engine.audit()
    assert audit.balanced
    assert audit.accepted == len(accepted) + 100
    assert engine._link.read(lambda execute: execute("PRAGMA integrity_check").fetchone()) == ("ok",)


def test_a_full_disk_stops_no_one_who_only_works_off_what_there_is(
    engine: SqliteEngine, file: Path, publication: Make
) -> None:
    engine.register("owner", 30)
    for _ in range(50):
        engine.publish([publication()])
    log = file.with_name(file.name + "-wal").stat().st_size
    assert log > 2 * file.stat().st_size
    with no_file_beyond(log + 100):
        for seq in range(1, 11):
            claimed = engine.claim("owner", ["q"], limit=5, seq=seq)
            assert len(claimed.deliveries) == 5
            engine.settle([Settlement(delivery.receipt, "done") for delivery in claimed.deliveries])
    assert engine.audit().states["done"] == 50
    assert engine.audit().balanced
    assert engine._link.read(lambda execute: execute("PRAGMA integrity_check").fetchone()) == ("ok",)


def test_a_file_whose_tables_were_altered_is_refused_and_no_outage(engine: SqliteEngine, file: Path) -> None:
    altered(file, "ALTER TABLE owner RENAME COLUMN lease TO rent")
    with pytest.raises(BrokerRefused, match="made by another reliq"):
        engine.register("owner", 30)


def test_a_forged_ending_is_named_by_the_audit(engine: SqliteEngine, file: Path, publication: Make) -> None:
    engine.publish([publication("forged"), publication("honest")])
    altered(file, "UPDATE message SET state = 4, ended = 1, gone = 9e15, claimed = 1 WHERE id = 'forged'")
    audit = engine.audit()
    assert not audit.balanced
    assert "forged" in {id for id, _ in audit.broken}
    assert "honest" not in {id for id, _ in audit.broken}


def test_a_record_that_vanished_is_missed_by_the_audit(
    engine: SqliteEngine, file: Path, publication: Make
) -> None:
    engine.publish([publication("a"), publication("b"), publication("c")])
    altered(file, "DELETE FROM message WHERE id = 'b'")
    assert not engine.audit().balanced


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_was_deleted_or_replaced_is_opened_anew(
    opened: Callable[..., SqliteEngine], file: Path, tmp_path: Path, publication: Make, replaced: bool
) -> None:
    engine = opened()
    engine.publish([publication("old")])
    engine.register("owner", 30)
    for suffix in ("", "-wal", "-shm"):
        file.with_name(file.name + suffix).rename(tmp_path / f"old{suffix}")
    if replaced:
        opened().publish([publication("new")])
    engine._link._look_at = 0.0
    assert engine.get("old") is None
    assert (engine.get("new") is not None) == replaced
    assert not engine.claim("owner", ["q"], limit=1, seq=1).live
    engine.publish([publication("after")])
    assert opened().get("after") is not None


def test_a_close_does_not_wait_for_the_lock_of_another_process(
    opened: Callable[..., SqliteEngine], file: Path, publication: Make
) -> None:
    engine = opened()
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    refused: list[BrokerUnavailable] = []

    def publish() -> None:
        try:
            engine.publish([publication()])
        except BrokerUnavailable as error:
            refused.append(error)

    publisher = threading.Thread(target=publish)
    publisher.start()
    while not engine._link._turn.locked():
        pass
    began = time.monotonic()
    engine.close()
    assert time.monotonic() - began < 1
    publisher.join()
    assert refused
    holder.close()


def test_a_file_that_another_process_creates_meanwhile_is_ours(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others: list[threading.Thread] = []

    class Slow(sqlite3.Connection):
        """Whenever it asks for the tables, another process makes them, or waits until it may."""

        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            if "sqlite_schema" in sql and not others:
                monkeypatch.undo()
                others.append(threading.Thread(target=lambda: connect(f"sqlite:///{file}").close()))
                others[0].start()
                others[0].join(0.2)
            return super().execute(sql, *values)

    plain = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: plain(*args, **options, factory=Slow))
    engine = connect(f"sqlite:///{file}")
    others[0].join(10)
    assert engine.audit().accepted == 0
    engine.close()
