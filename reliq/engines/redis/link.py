"""One connection for all threads of a process: calls follow one another on it without waiting for replies.

Whoever needs a reply reads, and hands others theirs; when it has its own, it makes the next one the reader.  No thread
of its own, no pool: a worker's child has this one connection, whatever its number of threads, and the server's pushes
(work has come, a message has ended) arrive on it too.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from reliq.engines.redis.resp import INCOMPLETE, Reader, ReplyError, is_push, reader
from reliq.errors import BrokerUnavailable

READ = 65536
_PATIENCE = 5.0  # seconds that a PING may take to get away
_LOOK_AGAIN = 1.0  # seconds after which who waits for its turn looks whether anybody reads


class Call:
    """A request on its way: `reply` once it is `done`."""

    __slots__ = ("done", "reply", "turn")

    def __init__(self) -> None:
        self.done = False
        self.reply: Any = None
        self.turn: SimpleQueue[None] | None = None  # what a follower waits on

    def end(self, reply: Any) -> None:
        self.reply = reply
        self.done = True
        if self.turn is not None:
            self.turn.put(None)


class Link:
    """An open socket.  A broken one stays broken: its calls raise `BrokerUnavailable`, and a new one is made."""

    def __init__(self, sock: socket.socket, *, where: str, tls: bool, on_close: Callable[[], None]) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._where = where
        self._reader: Reader = reader()
        self._pending: deque[Call] = deque()
        self._listening: set[Call] = set()
        self._followers: set[Call] = set()
        self._sending = threading.RLock()  # one that knows its owner
        self._state = threading.RLock()  # a signal's handler may call while its thread is in here
        self._leader: Call | None = None  # whose thread reads
        self._reads = 0  # that thread
        self._io: threading.Lock | None = threading.Lock() if tls else None  # TLS: one thread at a time
        self._poll = select.poll()
        self._poll.register(sock.fileno(), select.POLLIN)
        self._on_close = on_close
        self._gone = False
        self.broken: str | None = None
        self.listens = False  # subscribed to the channel of this process
        self.pid = os.getpid()

    # --- calls ---

    def is_entered(self) -> bool:
        """Whether this very thread is in the middle of a call here: a signal's handler calls."""
        if self._sending._is_owned():  # type: ignore[attr-defined]
            return True
        return self._leader is not None and self._reads == threading.get_ident()

    def send(self, data: bytes, deadline: float) -> Call:
        """Put a request on the wire."""
        call = Call()
        # An exception from outside (a signal, a time limit) may strike between any two steps, also between the lock and
        # the next line: so it is asked who has it.
        try:
            if not self._sending.acquire(timeout=max(0.0, deadline - time.monotonic())):
                self.close("others are still sending")  # or one was struck down with the lock in hand
                raise unavailable(self._where, "others are still sending", certain=True)
            if self.broken is not None:
                raise unavailable(self._where, self.broken, certain=True)
            self._pending.append(call)
            self._write(data, deadline)
        except BrokerUnavailable:
            raise
        except BaseException:
            self.close("a request was interrupted")  # half of it may be on the wire
            raise
        finally:
            if self._sending._is_owned():  # type: ignore[attr-defined]
                self._sending.release()
        return call

    def result(self, call: Call, deadline: float) -> Any:
        """The reply; an error of the server's is a value.  `BrokerUnavailable` when it does not come in time."""
        self._wait(call, deadline)
        if not call.done:
            self.close("no reply within the deadline")
        if call.reply is BROKEN or not call.done:
            raise unavailable(self._where, self.broken or "the connection was lost")
        return call.reply

    # --- pushes ---

    def listen(self) -> Call:
        """A call that ends with the next push, which is its reply."""
        call = Call()
        with self._state:
            self._listening.add(call)
        return call

    def wait(self, listening: Call, deadline: float) -> bool:
        """Until a push came; False: none did in time."""
        self._wait(listening, deadline)
        return listening.done

    def hush(self, listening: Call) -> None:
        """Listen no more."""
        with self._state:
            self._listening.discard(listening)

    def end(self, *listening: Call) -> None:
        """End waits for pushes, from another thread."""
        for call in listening:
            self.hush(call)
            call.end(None)
        if listening and self._leader is not None and self.broken is None:
            self._rouse()

    def nudge(self) -> None:
        """End all waits for pushes."""
        with self._state:
            listening = [*self._listening]
        self.end(*listening)

    def _rouse(self) -> None:
        """Whoever reads is asleep in the socket: an answer wakes it.  Where others send right now, theirs will."""
        try:
            if not self._sending._is_owned() and self._sending.acquire(blocking=False):  # type: ignore[attr-defined]
                self.send(_PING, time.monotonic() + _PATIENCE)
        except BrokerUnavailable:
            return
        finally:
            if self._sending._is_owned():  # type: ignore[attr-defined]
                self._sending.release()

    # --- reading in turns ---

    def _wait(self, call: Call, deadline: float) -> None:
        # Whoever reads is known by its call, so that this is undone wherever an exception from outside (a signal, a
        # time limit) strikes: a reader that is gone without a word would keep all others waiting.
        try:
            while not call.done:
                if self._lead(call):
                    if self._read(call, deadline):
                        return
                    continue
                assert call.turn is not None
                left = deadline - time.monotonic()
                try:
                    call.turn.get(timeout=max(0.0, min(left, _LOOK_AGAIN)))
                except Empty:
                    if left <= _LOOK_AGAIN:
                        return
                finally:
                    self._leave(call)
        except BaseException:
            if self._leader is call:
                self.close("a read was interrupted")  # what had been received may be lost
            raise
        finally:
            if self._leader is call:
                self._leader = None
                self._appoint()
                if self.broken is not None:
                    self._let_go()

    def _lead(self, call: Call) -> bool:
        """Whether this call's thread reads now; else it follows."""
        with self._state:
            if self._leader is None or self._leader is call:
                self._reads = threading.get_ident()
                self._leader = call
                return True
            if call.turn is None:
                call.turn = SimpleQueue()
                if call.done:
                    call.turn.put(None)
            self._followers.add(call)
            return False

    def _leave(self, call: Call) -> None:
        with self._state:
            self._followers.discard(call)
        if self._leader is None and not call.done:
            self._appoint()  # it may have been its turn

    def _appoint(self) -> None:
        """Nobody reads: one of those who wait goes on with it."""
        with self._state:
            follower = next((one for one in [*self._followers] if not one.done), None)
        if follower is not None and follower.turn is not None:
            follower.turn.put(None)

    def _read(self, call: Call, deadline: float) -> bool:
        """Read until `call` is done; True: the time is over."""
        while not call.done:
            try:
                reply = self._reader.gets()
            except (ReplyError, ValueError) as error:
                self.close(f"it answers what is no answer of Redis ({error})")
                return False
            if reply is not INCOMPLETE:
                self._dispatch(reply)
                continue
            left = deadline - time.monotonic()
            if left <= 0:
                return True
            data = self._receive(left)
            if data is None:
                continue
            if not data:
                self.close("the server closed the connection")
                return False
            self._reader.feed(data)
        return False

    def _dispatch(self, reply: Any) -> None:
        if is_push(reply) and reply[0] != b"subscribe":  # which is the answer to a call
            with self._state:
                listening = [*self._listening]
                self._listening.clear()
            for one in listening:
                one.end(reply)
        elif self._pending:
            try:
                self._pending[0].end(
                    reply
                )  # first: one that is in no list would not be told when the link breaks
                self._pending.popleft()
            except IndexError:  # it was closed meanwhile
                return
        else:
            self.close("it answers what nobody has asked")  # the next answer would not be for the next call

    # --- the socket ---

    def _receive(self, left: float) -> bytes | None:
        """What has come, b"" at the end; None: nothing yet.  It is rarely there already, so first comes the sleep."""
        try:
            if self._io is None:
                if not self._poll.poll(left * 1000):
                    return None
                return self._sock.recv(READ)
            with self._io:
                try:
                    return self._sock.recv(READ)
                except _NOT_YET:
                    pass
            self._poll.poll(left * 1000)
            return None
        except BlockingIOError:
            return None
        except (OSError, ValueError) as error:
            self.close(str(error) or type(error).__name__)
            return None

    def _write(self, data: bytes, deadline: float) -> None:
        view: Any = data
        try:
            while view:
                try:
                    if self._io is None:
                        sent = self._sock.send(view)
                    else:
                        with self._io:
                            sent = self._sock.send(view)
                except _NOT_YET:
                    left = deadline - time.monotonic()
                    if left <= 0:
                        raise TimeoutError("could not send within the deadline") from None
                    room = select.poll()  # unlike select(), for any number of descriptors
                    room.register(self._sock.fileno(), select.POLLOUT)
                    room.poll(left * 1000)
                    continue
                view = memoryview(view)[sent:] if sent < len(view) else b""
        except (OSError, ValueError) as error:
            self.close(str(error) or type(error).__name__)
            raise unavailable(self._where, self.broken or str(error)) from error

    def close(self, why: str) -> None:
        """End it; all that wait are told."""
        with self._state:
            if self.broken is not None:
                return
            self.broken = why
            waiting = [*self._pending, *self._listening]
            self._pending.clear()
            self._listening.clear()
        for call in waiting:
            call.end(BROKEN)
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)  # wakes the reader
        self._let_go()

    def _let_go(self) -> None:
        """Close the descriptor, once nobody sleeps on its number: that may be the next connection's by then."""
        with self._state:
            if self._leader is not None or self._gone:
                return
            self._gone = True
        self._on_close()


class Broken:
    """The reply of a call whose connection was lost."""


BROKEN = Broken()
_PING = b"*1\r\n$4\r\nPING\r\n"


def _not_yet() -> tuple[type[Exception], ...]:
    try:
        import ssl
    except ImportError:
        return (BlockingIOError,)
    return (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


_NOT_YET = _not_yet()


def command(parts: Sequence[bytes]) -> bytes:
    """A request as it travels."""
    return b"*%d\r\n" % len(parts) + words(parts)


def words(parts: Sequence[bytes]) -> bytes:
    """The words of a request, without how many there are."""
    return b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])


def unavailable(where: str, why: str, *, certain: bool = False) -> BrokerUnavailable:
    return BrokerUnavailable(
        f"Redis at {where} cannot be reached: {why}; check that it runs and that the address is right",
        certain=certain,
    )
