"""Waking without polling: who idles leaves an address in the `waiter` table, whoever makes work sends it a byte.

The address is entered by the same transaction that found nothing, and taken out by the one that makes something ready,
so no wake is lost between the two.  A process that died idle is noticed when sending fails; the wake is passed on.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import random
import secrets
import select
import socket
import tempfile
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import msgspec

from reliq.engines.sqlite.connection import Step
from reliq.policy.clock import Clock, SystemClock

_LONGEST = 100  # bytes of a socket's path; the kernel's limit is 104 to 108
_LOOK_EVERY = 0.005  # seconds, at a clock that does not run by itself
_SWEPT = 100  # sockets looked at by one sweep
_POLL_EVERY = 0.02  # seconds, where there are no sockets of this kind
_FULL = (errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS)  # it has more wakes than it has read
_names = msgspec.json.Decoder(list[str])


class Call:
    """A blocking call: a place to sleep and the end of the sleep."""

    def __init__(
        self, clock: Clock, sleeper: socket.socket | None, address: str, seconds: float, owner: str
    ) -> None:
        self.owner = owner
        self.address = address
        self.socket = sleeper
        self.listed = False  # its address was entered; whoever wakes it has taken it out
        self.recalled = False  # by `wake`: it is to end
        self._clock = clock
        self._end = clock.monotonic() + seconds
        self._real_end = time.monotonic() + seconds  # lest a clock that stands still hangs the call
        self._runs = isinstance(clock, SystemClock)

    @property
    def left(self) -> float:
        """Seconds."""
        return min(self._end - self._clock.monotonic(), self._real_end - time.monotonic())

    def sleep(self, until: int | None = None) -> None:
        """Until woken, until the call's end, or until the moment `until` (ms UTC)."""
        left = self.left
        if until is not None:
            left = min(left, (until - self._clock.now_ms()) / 1000)
        if not self._runs:
            left = min(left, _LOOK_EVERY)
        if left <= 0:
            return
        if self.socket is None:
            time.sleep(min(left, _POLL_EVERY))
        elif _readable(self.socket, left):
            with contextlib.suppress(BlockingIOError):
                while self.socket.recv(16):
                    pass


class Waking:
    """The sockets of one engine."""

    def __init__(self, database: Path, clock: Clock) -> None:
        self._folder = _folder(database)
        self._clock = clock
        self._lock = threading.Lock()
        self._idle: list[tuple[socket.socket, str]] = []
        self._busy: weakref.WeakSet[Call] = (
            weakref.WeakSet()
        )  # one that a signal's exception cut off is just lost
        self._sender: socket.socket | None = None
        self._closed = False

    def call(self, seconds: float, *, owner: str = "") -> Call:
        """Ends by `release`."""
        with self._lock:
            seat = self._idle.pop() if self._idle else self._bind()
            if seat is not None and not os.path.exists(seat[1]):  # somebody cleans up the folder
                seat[0].close()
                seat = self._bind()
            sleeper, address = seat or (None, "")
            call = Call(self._clock, sleeper, address, seconds, owner)
            self._busy.add(call)
        return call

    def release(self, call: Call) -> None:
        with self._lock:
            self._busy.discard(call)
            if call.socket is None:
                return
            seat = (call.socket, call.address)
            if self._closed:
                _unbind(seat)
            else:
                self._idle.append(seat)

    def recall(self, owner: str) -> None:
        """End the sleep of this owner's calls."""
        with self._lock:
            calls = [call for call in self._busy if call.owner == owner]
        for call in calls:
            call.recalled = True
            if call.address:
                self.send(call.address)

    def send(self, address: str) -> bool:
        """False: nobody listens there any more."""
        with self._lock:
            try:
                if self._sender is None:
                    self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                    self._sender.setblocking(False)
                self._sender.sendto(b"!", address)
            except ConnectionRefusedError:  # it was killed
                with contextlib.suppress(OSError):
                    os.unlink(address)
                return False
            except OSError as error:
                return error.errno in _FULL
            return True

    def close(self) -> None:
        """Wake all who sleep; their sockets go when they are released."""
        with self._lock:
            self._closed = True
            for seat in self._idle:
                _unbind(seat)
            self._idle.clear()
            asleep = [call.address for call in self._busy if call.address]
        for address in asleep:
            self.send(address)
        self.sweep()
        with self._lock:
            if self._sender is not None:
                self._sender.close()
                self._sender = None
        with contextlib.suppress(OSError):
            self._folder.rmdir()  # the last one out

    def sweep(self) -> None:
        """Remove the sockets of processes that ended without a `close`; living ones notice nothing."""
        if not hasattr(socket, "AF_UNIX"):
            return
        with contextlib.suppress(OSError):
            names = os.listdir(self._folder)
            for name in random.sample(names, min(len(names), _SWEPT)):
                _remove_if_dead(str(self._folder / name))

    def _bind(self) -> tuple[socket.socket, str] | None:
        if not hasattr(socket, "AF_UNIX"):
            return None
        try:
            sleeper = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        except OSError:  # no descriptor is left
            return None
        address = str(self._folder / f"{os.getpid()}-{secrets.token_hex(6)}")
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            sleeper.bind(address)
        except OSError:
            sleeper.close()
            return None
        sleeper.setblocking(False)
        return sleeper, address


# --- the waiter table ---


def enlist(
    step: Step, address: str, until: int, *, queues: str | None = None, message: str | None = None
) -> None:
    """Wake `address` when a message of `queues` (a JSON list) is ready, or when `message` ends."""
    step.execute(
        "INSERT OR REPLACE INTO waiter (address, until, queues, message) VALUES (?, ?, ?, ?)",
        (address, until, queues, message),
    )


def delist(step: Step, address: str) -> None:
    step.execute("DELETE FROM waiter WHERE address = ?", (address,))


def called(step: Step) -> list[tuple[str, str | None]]:
    """Take out whom this step concerns, one for each message that is ready now: (address, queue)."""
    waiters: list[Any] = step.execute(
        "SELECT id, address, queues, message FROM waiter WHERE until > ? ORDER BY id", (step.now,)
    ).fetchall()
    if not waiters:
        return []
    found: list[tuple[str, str | None]] = []
    ended = set(step.ended)
    for id, address, queues, message in waiters:
        queue = None
        if message is None:
            queue = next((name for name in _names.decode(queues) if step.woken.get(name)), None)
            if queue is None:
                continue
            step.woken[queue] -= 1
        elif message not in ended:
            continue
        step.execute("DELETE FROM waiter WHERE id = ?", (id,))
        found.append((address, queue))
    return found


def _folder(database: Path) -> Path:
    beside = database.with_name(database.name + ".wake")
    if len(os.fsencode(beside)) + 32 <= _LONGEST:
        return beside
    name = hashlib.sha256(os.fsencode(database)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"reliq-{name}"


def _readable(sleeper: socket.socket, seconds: float) -> bool:
    poll = select.poll()
    poll.register(sleeper, select.POLLIN)
    return bool(poll.poll(max(1, round(seconds * 1000))))


def _remove_if_dead(address: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(address)
        except ConnectionRefusedError:
            os.unlink(address)


def _unbind(seat: tuple[socket.socket, str]) -> None:
    seat[0].close()
    with contextlib.suppress(OSError):
        os.unlink(seat[1])
