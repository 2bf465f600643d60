"""What a child has in hand, in memory shared with its parent.

Each delivery has one state byte, and a mark that the parent sets when it takes the delivery back; all other bytes have
a single writer.

    FREE -> HELD -> STARTED -> FINISHED -> FREE      by the child
            HELD -> TAKEN                            by the parent, which gives the delivery back
            STARTED -> PARKED -> STARTED | TAKEN     an async task that waits for the loop

A delivery is either run by the child or given back by the parent, never both.  The parent, which takes back seldom,
pays for that: it says that it is at it, has all processors show what they wrote (`posix.order_memory`), and only then
reads the states.  The child first writes STARTED, then looks whether the parent is at it.  If not, the parent will read
STARTED; else the child waits for the lock, which the kernel frees at a death, and the mark tells whose it is.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import NamedTuple

from reliq.ports.values import Delivery, Receipt
from reliq.worker import posix

FREE, HELD, STARTED, FINISHED, TAKEN, PARKED = range(6)
UNSTARTED = (HELD, PARKED)

_HEADER = 512
_MAX_ID = 165
_ENTRY = struct.Struct(
    f"<Qdd??B{_MAX_ID}s"
)  # fence, started, hard limit, is async, id is a digest, its length, id
_ENTRY_SIZE = _ENTRY.size
_TIMES = struct.Struct("<d")
_TIME_INTO = _TIMES.pack_into
_COUNTS = struct.Struct("<QQQ")  # successful claims, deliveries claimed, deliveries settled
_LAST_CLAIM, _COUNTERS, _AHEAD = 8, 16, 48
_READY, _FULL, _PAUSED, _ORPHANED, _RETIRED, _VOID, _TAKING, _ASK = range(64, 72)


class Running(NamedTuple):
    """A delivery whose task has started; `id` is a digest when the id is too long for the board."""

    place: int
    id: str
    fence: int
    started: float
    hard: float
    is_async: bool


class _Flag:
    """One byte of the header as a boolean."""

    def __init__(self, at: int) -> None:
        self._at = at

    def __get__(self, board: Board, owner: type[Board]) -> bool:
        return board._memory[self._at] != 0

    def __set__(self, board: Board, value: bool) -> None:
        board._memory[self._at] = value


class Board:
    """The child's and the parent's view of the same file.

    `fd` None makes a private board, for a worker in one process.
    """

    def __init__(self, capacity: int, fd: int | None = None) -> None:
        self.capacity = capacity
        self.fd = fd
        self._marks = _HEADER + capacity
        self._entries = _entries(capacity)
        self._memory = mmap.mmap(-1 if fd is None else fd, size_of(capacity))
        self._mutex = threading.Lock()
        self._record = posix.RecordLock(fd)
        self._lock, self._unlock = self._record.acquire, self._record.release
        if fd is not None and not posix.follow_order():
            self._memory[_ASK] = 1
        self._asks = self._memory[_ASK] != 0  # there is no order but the lock's: each start takes it
        self._free = list(range(capacity - 1, -1, -1))

    # --- the child's side ---

    @property
    def room(self) -> int:
        return len(self._free)

    def hold(self, deliveries: Iterable[Delivery]) -> list[int]:
        """Write down a claimed batch; the caller has looked at `room`."""
        memory, free, entries, marks = self._memory, self._free, self._entries, self._marks
        pack = _ENTRY.pack_into
        indices = []
        for delivery in deliveries:
            receipt = delivery.receipt
            index = free.pop()
            at = entries + index * _ENTRY_SIZE
            name = receipt.id.encode()
            digest = len(name) > _MAX_ID
            if digest:
                name = _digest(receipt.id)
            pack(memory, at, receipt.fence, 0.0, 0.0, False, digest, len(name), name)
            memory[marks + index] = 0
            memory[_HEADER + index] = HELD
            indices.append(index)
        return indices

    def send_ahead(self, now: float) -> None:
        """A claim is on its way whose deliveries nobody here has seen; `now`: from when on it may have brought some."""
        _TIMES.pack_into(self._memory, _AHEAD, now)

    def receive(self) -> bool:
        """The claim that was on its way is here; False: the parent has given back what it brought."""
        with self._mutex:
            self._lock()
            ours = self._memory[_VOID] == 0
            self._memory[_VOID] = 0
            _TIMES.pack_into(self._memory, _AHEAD, 0.0)
            self._unlock()
        return ours

    def start(self, index: int, now: float) -> bool:
        """The task of this delivery begins; False: the parent has taken it back."""
        memory = self._memory
        _TIME_INTO(memory, self._entries + index * _ENTRY_SIZE + 8, now)
        memory[_HEADER + index] = STARTED
        if self._asks or memory[_TAKING]:
            with self._mutex:
                self._lock()
                self._unlock()
        if memory[self._marks + index]:
            memory[_HEADER + index] = TAKEN
            return False
        return True

    def limit(self, index: int, hard: float) -> None:
        """The parent kills this process when the task runs longer than `hard` seconds."""
        _TIMES.pack_into(self._memory, self._entries + index * _ENTRY_SIZE + 16, hard)

    def mark_async(self, index: int) -> None:
        self._memory[self._entries + index * _ENTRY_SIZE + 24] = 1

    def park(self, index: int) -> None:
        """An opened async task waits for the loop: it has not started after all.  Since when, `started` tells."""
        self._memory[_HEADER + index] = PARKED

    def finish(self, index: int) -> None:
        self._memory[_HEADER + index] = FINISHED

    def free(self, index: int) -> None:
        self._memory[_HEADER + index] = FREE
        self._free.append(index)

    def in_hand(self) -> set[tuple[str, int]]:
        """(id as shown, fence) of all that is claimed and neither settled nor taken back."""
        entries = (self._read(i) for i, state in enumerate(self.states()) if state in _IN_HAND)
        return {(entry.id, entry.fence) for entry in entries}

    def claimed(self, now: float, count: int, settled: int) -> None:
        """The broker answered a claim."""
        memory = self._memory
        _TIMES.pack_into(memory, _LAST_CLAIM, now)
        claims, deliveries, ended = _COUNTS.unpack_from(memory, _COUNTERS)
        _COUNTS.pack_into(memory, _COUNTERS, claims + 1, deliveries + count, ended + settled)

    # --- flags: one writer each ---

    ready = _Flag(_READY)  # the child has imported the app, its middleware has started, it begins to claim
    full = _Flag(_FULL)  # it claims nothing because its hands are full
    paused = _Flag(_PAUSED)  # it claims nothing because it was told so
    orphaned = _Flag(_ORPHANED)  # the broker says that its owner is dead
    retired = _Flag(_RETIRED)  # it ends by itself: drained, recycled

    # --- the parent's side ---

    @property
    def last_claim(self) -> float:
        """When (monotonic seconds) the broker last answered a claim; 0.0: never."""
        return float(_TIMES.unpack_from(self._memory, _LAST_CLAIM)[0])

    @property
    def counts(self) -> tuple[int, int, int]:
        """Answered claims, deliveries claimed, deliveries settled."""
        claims, deliveries, settled = _COUNTS.unpack_from(self._memory, _COUNTERS)
        return claims, deliveries, settled

    def states(self) -> bytes:
        return self._memory[_HEADER : _HEADER + self.capacity]

    @property
    def busy(self) -> bool:
        """Whether anything is in the child's hands."""
        return self.states().count(FREE) != self.capacity

    def running(self, states: bytes | None = None, *, state: int = STARTED) -> list[Running]:
        states = self.states() if states is None else states
        return [self._read(index) for index in _positions(states, state)]

    def take(
        self, wanted: Sequence[int] = (HELD,), *, timeout: float = 0.05, only: str | None = None
    ) -> list[Running] | None:
        """Take back what has not started (with `only`, that id alone); None: the child keeps the lock, try later."""
        if not self._mutex.acquire(timeout=timeout):
            return None
        try:
            if not self._record.try_acquire(timeout):
                return None
            try:
                self._memory[_TAKING] = 1
                self._order()
                taken = self._take(wanted, only)
                self._order()
                return taken
            finally:
                self._memory[_TAKING] = 0
                self._unlock()
        finally:
            self._mutex.release()

    def _order(self) -> None:
        if self.fd is not None and not self._asks:
            posix.order_memory()

    def _take(self, wanted: Sequence[int], only: str | None) -> list[Running]:
        taken = []
        for index, state in enumerate(self.states()):
            if state in wanted:
                entry = self._read(index)
                if only is None or entry.id == shown(only):
                    self._memory[self._marks + index] = 1
                    self._memory[_HEADER + index] = TAKEN
                    taken.append(entry)
        return taken

    def detach(self) -> None:
        """In a fork of the process: go on with a copy that nobody else sees."""
        copy = mmap.mmap(-1, len(self._memory))
        copy[:] = self._memory[:]
        self._memory = copy
        self._mutex = threading.Lock()
        self._record = posix.RecordLock(None)
        self._lock, self._unlock = self._record.acquire, self._record.release

    @property
    def ahead_since(self) -> float:
        """When (monotonic seconds) a claim was sent whose answer the child has not looked at; 0.0: there is none."""
        return float(_TIMES.unpack_from(self._memory, _AHEAD)[0])

    def void(self, *, timeout: float = 0.05) -> bool:
        """Say that what the claim on its way brings is given back; False: there is none, or the lock is kept."""
        if not self._mutex.acquire(timeout=timeout):
            return False
        try:
            if not self._record.try_acquire(timeout):
                return False
            try:
                there = self.ahead_since > 0
                if there:
                    self._memory[_VOID] = 1
                return there
            finally:
                self._unlock()
        finally:
            self._mutex.release()

    @property
    def is_void(self) -> bool:
        """Whether the child has still to hear of `void`: it can have claimed nothing since."""
        return self._memory[_VOID] != 0

    def close(self) -> None:
        """The end of this view; any record lock of this process on the file goes with it."""
        self._memory.close()
        if self.fd is not None:
            os.close(self.fd)

    def _read(self, index: int) -> Running:
        at = self._entries + index * _ENTRY_SIZE
        fence, started, hard, is_async, digest, length, name = _ENTRY.unpack_from(self._memory, at)
        name = name[:length]
        return Running(
            index, _DIGEST + name.hex() if digest else name.decode(), fence, started, hard, is_async
        )


def size_of(capacity: int) -> int:
    return _entries(capacity) + capacity * _ENTRY_SIZE


def _entries(capacity: int) -> int:
    """Where they begin: after the header, the states and the marks."""
    return -(-(_HEADER + 2 * capacity) // 64) * 64


def receipts(entries: Sequence[Running], owner: str, held: Iterable[Receipt] = ()) -> list[Receipt]:
    """The receipts of entries; `held` resolves ids that were too long for the board."""
    found = [Receipt(e.id, owner, e.fence) for e in entries if not e.id.startswith(_DIGEST)]
    long = {(e.id, e.fence) for e in entries if e.id.startswith(_DIGEST)}
    if long:
        found += [r for r in held if (shown(r.id), r.fence) in long]
    return found


def resolve(receipt: Receipt, held: Iterable[Receipt]) -> Receipt:
    """The receipt with the whole id where the board had only its digest."""
    if not receipt.id.startswith(_DIGEST):
        return receipt
    return next((r for r in held if (shown(r.id), r.fence) == (receipt.id, receipt.fence)), receipt)


def has_long_ids(entries: Iterable[Running]) -> bool:
    return any(entry.id.startswith(_DIGEST) for entry in entries)


_DIGEST = "\0blake2b:"  # no id begins with a control character


_IN_HAND = frozenset({HELD, STARTED, FINISHED, PARKED})


def shown(id: str) -> str:
    """The id as the board shows it."""
    return id if len(id.encode()) <= _MAX_ID else _DIGEST + _digest(id).hex()


def _digest(id: str) -> bytes:
    return blake2b(id.encode(), digest_size=24).digest()


def _positions(states: bytes, state: int) -> Iterable[int]:
    needle = bytes((state,))
    at = states.find(needle)
    while at >= 0:
        yield at
        at = states.find(needle, at + 1)
