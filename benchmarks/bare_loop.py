"""The bare loop: the fastest at-least-once queue one SQLite table allows, without any of reliq's rules.

One table, its `due` doubling as the lease's end; a crash between claim and settle shows the message again.  The
settlements of a batch and the next claim are one `BEGIN IMMEDIATE`.  It has no ids, states, fences, guards, retries
or records, so it is a limit to compare with, not a queue to use.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from time import monotonic, time

import msgspec

PAYLOAD = msgspec.msgpack.encode([1, "0" * 36, "benchmarks.no_op", "default", b"[[],{}]", *["x" * 20] * 10])
_SYNCHRONOUS = {"off": "OFF", "normal": "NORMAL", "full": "FULL"}
_LEASE_MS = 30_000
_CLAIM = """
    UPDATE message SET due = ?, owner = ? WHERE id IN (SELECT id FROM message WHERE due <= ? ORDER BY due LIMIT ?)
    RETURNING id, payload"""


def open_table(path: Path, durability: str) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(f"PRAGMA synchronous = {_SYNCHRONOUS[durability]}")
    db.execute(
        "CREATE TABLE message (id INTEGER PRIMARY KEY, due INTEGER NOT NULL, owner TEXT, payload BLOB NOT NULL)"
    )
    db.execute("CREATE INDEX message_due ON message (due)")
    return db


def publish(db: sqlite3.Connection, number: int, *, per: int) -> float:
    """Publish `number` messages, `per` in a transaction; messages per second."""
    begun = monotonic()
    if per == 1:
        for _ in range(number):
            db.execute("INSERT INTO message (due, payload) VALUES (?, ?)", (_now(), PAYLOAD))
    else:
        for start in range(0, number, per):
            rows = [(_now(), PAYLOAD) for _ in range(min(per, number - start))]
            db.execute("BEGIN IMMEDIATE")
            db.executemany("INSERT INTO message (due, payload) VALUES (?, ?)", rows)
            db.execute("COMMIT")
    return number / (monotonic() - begun)


def drain(db: sqlite3.Connection, task: Callable[[], None], *, batch: int) -> float:
    """Run `task` for every message, settling each batch with the next claim; messages per second."""
    begun, number = monotonic(), 0
    settled: list[tuple[int]] = []
    decode = msgspec.msgpack.decode
    while True:
        db.execute("BEGIN IMMEDIATE")
        if settled:
            db.executemany("DELETE FROM message WHERE id = ?", settled)
        now = _now()
        claimed = db.execute(_CLAIM, (now + _LEASE_MS, "bare", now, batch)).fetchall()
        db.execute("COMMIT")
        if not claimed:
            return number / (monotonic() - begun)
        settled = []
        for id, payload in claimed:
            decode(payload)
            task()
            settled.append((id,))
        number += len(claimed)


def _now() -> int:
    return int(time() * 1000)
