"""The store's records and ordered indexes, as operations inside a transaction.

A record is live until it lapses, and while its holder is leased whatever its ttl says.
"""

from __future__ import annotations

from typing import Any

from reliq.ports.values import Scanned, Value

_LIVE = """(expires IS NULL OR expires > ?
  OR EXISTS (SELECT 1 FROM message m WHERE m.id = holder AND m.state = 3))"""
_GET = f"SELECT value, version, expires, holder FROM store WHERE key = ? AND {_LIVE}"
_PUT = """INSERT INTO store (key, value, version, expires, holder) VALUES (?, ?, ?, ?, ?)
  ON CONFLICT (key) DO UPDATE SET value = excluded.value, version = excluded.version, expires = excluded.expires,
  holder = excluded.holder"""
_SCAN = f"""SELECT key, value, version, expires, holder FROM store
  WHERE key > ? AND key >= ? AND key < ? AND {_LIVE} ORDER BY key LIMIT ?"""


def get(execute: Any, now: int, key: str) -> Value | None:
    """The live record."""
    found = execute(_GET, (key, now)).fetchone()
    return None if found is None else Value(*found)


def put(execute: Any, now: int, key: str, data: bytes, expires: int | None, holder: str | None) -> Value:
    """Write, whatever stands there."""
    before = get(execute, now, key)
    value = Value(bytes(data), 1 if before is None else before.version + 1, expires, holder)
    execute(_PUT, (key, value.data, value.version, expires, holder))
    return value


def touch(execute: Any, key: str, expires: int | None) -> None:
    """A new end for a live record; no write, so its version stays."""
    execute("UPDATE store SET expires = ? WHERE key = ?", (expires, key))


def remove(execute: Any, key: str) -> None:
    execute("DELETE FROM store WHERE key = ?", (key,))


def scan(execute: Any, now: int, prefix: str, limit: int, after: str) -> Scanned:
    # Keys with the prefix stand together.  (SQLite's functions of texts would stop at a NUL.)
    end = _successor(prefix)
    sql, bound = (_SCAN.replace("AND key < ?", ""), ()) if end is None else (_SCAN, (end,))
    rows = execute(sql, (after, prefix, *bound, now, limit)).fetchall()
    return Scanned(
        tuple((row[0], Value(*row[1:])) for row in rows), rows[-1][0] if len(rows) == limit else ""
    )


def collect(execute: Any, now: int, limit: int) -> int:
    """Remove up to `limit` lapsed records whose holder is not leased; how many."""
    removed: int = execute(
        """DELETE FROM store WHERE key IN (SELECT key FROM store WHERE expires <= ? AND NOT EXISTS
           (SELECT 1 FROM message m WHERE m.id = holder AND m.state = 3) LIMIT ?)""",
        (now, limit),
    ).rowcount
    return removed


def index_put(execute: Any, index: str, member: str, at: int) -> None:
    execute(
        "INSERT INTO idx (name, member, at) VALUES (?, ?, ?) ON CONFLICT (name, member) DO UPDATE SET at = excluded.at",
        (index, member, at),
    )


def index_remove(execute: Any, index: str, member: str) -> bool:
    removed: int = execute("DELETE FROM idx WHERE name = ? AND member = ?", (index, member)).rowcount
    return removed > 0


def index_due(execute: Any, index: str, before: int, limit: int) -> list[tuple[str, int]]:
    rows: list[tuple[str, int]] = execute(
        "SELECT member, at FROM idx WHERE name = ? AND at <= ? ORDER BY at, member LIMIT ?",
        (index, before, limit),
    ).fetchall()
    return rows


def _successor(prefix: str) -> str | None:
    """The smallest text after all that begin with `prefix`; None where there is none."""
    stem = prefix.rstrip(chr(0x10FFFF))
    if not stem:
        return None
    last = ord(stem[-1]) + 1
    return stem[:-1] + chr(0xE000 if 0xD800 <= last <= 0xDFFF else last)  # no text has surrogates
