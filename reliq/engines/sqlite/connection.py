"""One SQLite connection: opening, transactions with a fair wait for the lock, errors in reliq's words."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from reliq.engines.sqlite.location import DURABILITIES, Location
from reliq.errors import BrokerFull, BrokerRefused, BrokerUnavailable, ForkedConnection
from reliq.policy.clock import Clock

APPLICATION_ID = 0x72656C71  # "relq"
VERSION = 1
DEADLINE = 5.0
BRIEFLY = 0.02  # seconds of patience of a call that had to wait longer than that for its turn
LOOK_EVERY = 1.0  # seconds between two looks at what the path names
T = TypeVar("T")
logger = logging.getLogger("reliq.sqlite")


class BeginAgain(Exception):
    """A transaction took a short cut that does not lead there; it begins again with a higher `step.again`."""


class Step:
    """One transaction under way: the connection, the moment it counts as, and what it will have changed."""

    __slots__ = (
        "again", "done", "dropped", "ended", "execute", "failed", "now", "place", "purged", "woken"
    )  # fmt: skip

    def __init__(
        self, execute: Callable[..., sqlite3.Cursor], now: int, last_place: int, *, again: int = 0
    ) -> None:
        self.execute = execute
        self.now = now
        self.again = again
        self.place = max(last_place, now * 1000)  # the last one given
        self.done = self.failed = self.dropped = self.purged = 0
        self.woken: dict[str, int] = {}  # queue -> messages that are ready now, or very soon
        self.ended: list[str] = []

    @property
    def fence(self) -> int:
        """The least fence of a claim now: microseconds."""
        return self.now * 1000

    def places(self, count: int = 1) -> int:
        """The first of `count` places in the order of becoming ready.

        They are microseconds, so that processes agree about them; within one they grow even where the clock does not.
        """
        first = self.place + 1
        self.place += count
        return first

    def wake(self, queue: str, count: int = 1) -> None:
        self.woken[queue] = self.woken.get(queue, 0) + count

    @contextlib.contextmanager
    def isolated(self) -> Iterator[None]:
        """What an error ends in here is as if it had not been begun; the transaction goes on."""
        before = self.done, self.failed, self.dropped, self.purged, len(self.ended)
        self.execute("SAVEPOINT item")
        try:
            yield
        except BaseException:
            self.execute("ROLLBACK TO item")
            self.done, self.failed, self.dropped, self.purged, ended = before
            del self.ended[ended:]
            raise
        finally:
            self.execute("RELEASE item")


class Connection:
    """A connection that threads share by taking turns, and that refuses to work in a fork of its process."""

    def __init__(
        self, place: Location, clock: Clock, *, on_commit: Callable[[Step], Callable[[], None] | None]
    ) -> None:
        self.path = place.path
        self._clock = clock
        self._on_commit = on_commit
        self._pid = os.getpid()
        self._turn = threading.Lock()
        self._closed = self._closing = False
        self._place = 0
        self._until = time.monotonic() + DEADLINE
        self._durability = place.durability
        self._connect()

    def read(self, ask: Callable[..., T], *args: Any) -> T:
        """`ask(execute, *args)`: one statement, or several that need no common snapshot."""
        entered = time.monotonic()
        with self._next_turn():
            self._begin_turn(entered)
            return self._patiently(lambda: ask(self._db.execute, *args))

    def snapshot(self, ask: Callable[..., T], *args: Any) -> T:
        """`ask(execute, *args)`, all of whose statements see the same moment."""

        def whole() -> T:
            try:
                self._db.execute("BEGIN")
                return ask(self._db.execute, *args)
            finally:
                self._roll_back()

        entered = time.monotonic()
        with self._next_turn():
            self._begin_turn(entered)
            return self._patiently(whole)

    def write(self, change: Callable[..., T], *args: Any, then: Callable[..., Any] | None = None) -> T:
        """`change(step, *args)` in one transaction that takes effect whole or not at all.

        After the commit `then(execute, result)` may read what was written; its answer replaces the result.
        """
        entered = time.monotonic()
        with self._next_turn():
            self._begin_turn(entered)
            result, after = self._transact(change, args)
            if then is not None:
                result = self._patiently(lambda: then(self._db.execute, result), certain=False)
        if after is not None:
            after()
        return result

    def _transact(
        self, change: Callable[..., T], args: tuple[Any, ...], *, again: int = 0, last: bool = False
    ) -> tuple[T, Callable[[], None] | None]:
        execute = self._db.execute
        committing = False
        # BEGIN stands inside, since a signal's exception may come between any two of these lines.
        try:
            self._begin(execute)
            step = Step(execute, self._clock.now_ms(), self._place, again=again)
            result = change(step, *args)
            after = self._on_commit(step)
            committing = True
            execute("COMMIT")
            self._place = step.place
        except BeginAgain:
            self._roll_back()
            return self._transact(change, args, again=again + 1, last=last)
        except BaseException as error:
            self._roll_back()
            if isinstance(error, sqlite3.Error):
                if not last and _full(error) and self._make_room():
                    return self._transact(change, args, again=again, last=True)
                raise self._translate(error, certain=not committing) from error
            raise
        return result, after

    @property
    def foreign(self) -> bool:
        """Another process opened it."""
        return os.getpid() != self._pid

    def close(self) -> None:
        """Close; twice is harmless.  Whoever waits for another process's lock gives up."""
        self._closing = True
        with self._turn:
            if not self._closed:
                self._closed = True
                self._keep_place()
                self._db.close()

    def _keep_place(self) -> None:
        # Time gives the next process later places by itself, unless the clock was set back.
        if self._place > self._clock.now_ms() * 1000:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("UPDATE book SET place = max(place, ?)", (self._place,))

    # --- turns and waits ---

    def _next_turn(self) -> threading.Lock:
        # Used as `with self._next_turn():`, not by acquire and release: between those two a signal's exception could
        # come, and the lock would be held for ever.
        if os.getpid() != self._pid:
            raise ForkedConnection(
                f"The connection to {self.path} was opened by process {self._pid} and used in its fork {os.getpid()}; "
                "connect again in the fork"
            )
        return self._turn

    def _begin_turn(self, entered: float) -> None:
        self._until = (
            entered + DEADLINE
        )  # the wait for the turn counts, or threads would add up their patience
        if self._closed:
            raise BrokerUnavailable(f"The connection to {self.path} was closed; connect again", certain=True)
        if entered >= self._look_at:
            self._look()
        if self._db.in_transaction:  # a signal's exception came in the middle of the last call
            self._roll_back()

    def _look(self) -> None:
        """What is open must still be what the path names; else this process works on a file that nobody else sees."""
        self._look_at = time.monotonic() + LOOK_EVERY
        if _identity(self.path) == self._file:
            return
        logger.warning("%s was deleted or replaced; opening what is there now", self.path)
        self._look_at = 0.0  # if this fails, again at the next call
        self._db.close()
        self._connect()

    def _begin(self, execute: Callable[..., sqlite3.Cursor]) -> None:
        # SQLite's own busy handler sleeps up to 100 ms and starves the second writer; short random waits share the
        # file about evenly.
        try:
            execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if not _busy(error):
                raise self._translate(error) from error
            self._patiently(lambda: execute("BEGIN IMMEDIATE"))

    def _patiently(self, ask: Callable[[], T], *, certain: bool = True) -> T:
        deadline = 0.0
        while True:
            try:
                return ask()
            except sqlite3.Error as error:
                if not _busy(error):
                    raise self._translate(error, certain=certain) from error
                now = time.monotonic()
                deadline = deadline or max(self._until, now + BRIEFLY)
                if now > deadline or self._closing:
                    raise BrokerUnavailable(
                        f"{self.path} was locked by another process for {DEADLINE:.0f} s ({error}); "
                        f"see who holds it: fuser {self.path}",
                        certain=certain,
                    ) from error
            time.sleep(random.uniform(0.0001, 0.0005))

    def _make_room(self) -> bool:
        """Empty the log into the file, so that it begins anew: then it needs no more of the disk."""
        with contextlib.suppress(sqlite3.Error):
            _, logged, moved = self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            return bool(0 < logged == moved)
        return False

    def _roll_back(self) -> None:
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except sqlite3.Error:  # SQLite has rolled back already; the first error is the one to tell
            pass

    # --- opening ---

    def _connect(self) -> None:
        try:
            self._db = sqlite3.connect(
                self.path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=256
            )
        except sqlite3.Error as error:
            raise self._translate(error) from error
        try:
            self._patiently(lambda: self._open(self._durability))
        except BaseException:
            self._db.close()
            raise
        self._file = _identity(self.path)
        self._look_at = time.monotonic() + LOOK_EVERY

    def _open(self, durability: str) -> None:
        db = self._db
        self._recognise()
        db.execute(
            "PRAGMA page_size = 2048"
        )  # a commit writes whole pages, and most change few bytes of each
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA synchronous = {DURABILITIES[durability]}")
        db.execute("PRAGMA cache_size = -8000")
        db.execute("PRAGMA temp_store = MEMORY")
        db.execute("PRAGMA wal_autocheckpoint = 8000")
        db.execute("PRAGMA journal_size_limit = 33554432")
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            self._create()
        self._place = db.execute("SELECT place FROM book").fetchone()[0]

    def _recognise(self) -> None:
        application, version, tables = self._marks()
        if application == APPLICATION_ID:
            if version > VERSION:
                raise BrokerRefused(
                    f"{self.path} has version {version} of reliq's file format, this reliq knows version {VERSION}; "
                    "upgrade reliq here, or name another file",
                    version=version,
                )
            return
        if application != 0 or version != 0 or tables:
            found = (
                f"tables {', '.join(tables)}"
                if tables
                else f"application id {application:#x}, version {version}"
            )
            raise BrokerRefused(
                f"{self.path} is a database of another program ({found}); name another file for reliq"
            )

    def _marks(self) -> tuple[int, int, list[str]]:
        """Whose file it is: application id, version, a few tables; seen at once, since another may be creating it."""
        execute = self._db.execute
        try:
            execute("BEGIN")
            application = execute("PRAGMA application_id").fetchone()[0]
            version = execute("PRAGMA user_version").fetchone()[0]
            tables = execute("SELECT name FROM sqlite_schema WHERE type = 'table' LIMIT 3").fetchall()
        finally:
            self._roll_back()
        return application, version, [row[0] for row in tables]

    def _create(self) -> None:
        script = resources.files("reliq.engines.sqlite").joinpath("schema.sql").read_text(encoding="utf-8")
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            if db.execute("PRAGMA user_version").fetchone()[0] == 0:  # nobody was faster
                for statement in _statements(script):
                    db.execute(statement)
                db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                db.execute(f"PRAGMA user_version = {VERSION}")
            db.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    # --- errors ---

    def _translate(self, error: sqlite3.Error, *, certain: bool = True) -> Exception:
        """`certain`: nothing was changed.  What can only be a mistake of ours is not translated."""
        if not isinstance(error, sqlite3.OperationalError) and type(error) is not sqlite3.DatabaseError:
            return error
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            return BrokerFull(
                f"{self.path} cannot grow ({error}): the disk or the database's page limit is full; nothing was "
                f"changed. Free some space: df -h {self.path.parent}"
            )
        if code == sqlite3.SQLITE_NOTADB:
            return BrokerRefused(f"{self.path} is not a SQLite database ({error}); name another file")
        if code == sqlite3.SQLITE_CORRUPT:
            return BrokerRefused(
                f"{self.path} is damaged ({error}); restore it from a copy, or: sqlite3 FILE .recover"
            )
        if code in (
            sqlite3.SQLITE_READONLY,
            sqlite3.SQLITE_CANTOPEN,
            sqlite3.SQLITE_PERM,
            sqlite3.SQLITE_AUTH,
        ):
            return BrokerRefused(
                f"{self.path} cannot be written ({error}); see: ls -ld {self.path.parent} {self.path}"
            )
        if code == sqlite3.SQLITE_ERROR:  # a table or a column is missing: waiting does not help
            return BrokerRefused(
                f"{self.path} was altered or made by another reliq ({error}); name another file"
            )
        return BrokerUnavailable(f"{self.path}: {error}", certain=certain)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _full(error: sqlite3.Error) -> bool:
    """The disk, or what a quota leaves of it; the write was refused, so nothing was committed."""
    return getattr(error, "sqlite_errorcode", 0) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)


def _statements(script: str) -> list[str]:
    statements, current = [], ""
    for line in script.splitlines(keepends=True):
        current += line
        if sqlite3.complete_statement(current):
            statements.append(current)
            current = ""
    return statements
