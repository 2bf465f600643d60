"""The server as the engine sees it: scripts are called, errors get their names, a lost connection is opened again."""

from __future__ import annotations

import _thread
import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from itertools import count
from queue import Empty, SimpleQueue
from typing import Any

from reliq.engines.redis.endpoint import TIMEOUT, Endpoint
from reliq.engines.redis.keys import channel
from reliq.engines.redis.link import Call, Link, command, unavailable, words
from reliq.engines.redis.resp import ReplyError
from reliq.engines.redis.scripts import Script, script
from reliq.errors import BrokerError, BrokerFull, BrokerRefused, BrokerUnavailable, ForkedConnection
from reliq.policy.clock import Clock, SystemClock

# Answers that pass by themselves: https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors
_PASSING = ("LOADING", "BUSY", "TRYAGAIN", "MASTERDOWN", "CLUSTERDOWN", "UNBLOCKED", "NOREPLICAS", "ASK")
_ELSEWHERE = ("READONLY", "MOVED")
_FULL = ("OOM", "MISCONF")
_REFUSED = ("NOAUTH", "WRONGPASS", "NOPERM", "CROSSSLOT")
_FORBIDDEN = "user executing the script can't"  # with no word of its own
_MOVED = re.compile(r"MOVED \d+ (\S*):(\d+)")
# Redis 6 puts what went wrong in a script behind where that was: "ERR Error running script (...): ...:1: -OOM ..."
_IN_SCRIPT = re.compile(r"^ERR Error running script \(.*?\): .*?-?\b([A-Z]{2,} .*)$", re.DOTALL)
_GRACE = 0.2  # seconds that an attempt to connect has to say why it failed at the deadline
_PAUSE = 0.05  # seconds before a passing answer is asked for again


class Request:
    """A script call on its way."""

    __slots__ = ("arguments", "call", "deadline", "link", "script")

    def __init__(
        self, link: Link, call: Call, script: Script, arguments: Sequence[bytes], deadline: float
    ) -> None:
        self.link = link
        self.call = call
        self.script = script
        self.arguments = arguments
        self.deadline = deadline

    def renewed(self) -> Request:
        """With the whole time for its answer: it may have been sent long ago."""
        self.deadline = time.monotonic() + TIMEOUT
        return self


class Opening:
    """A connection being opened, in a thread of its own.

    A signal or a time limit strikes threads that run tasks, and may do so anywhere: there it would leave a client
    library half way, and a lock with nobody to release it.
    """

    def __init__(self, open: Callable[[], Link], until: float) -> None:
        self.ended = False
        self.until = until  # who waits for it waits no longer; nobody knows what became of it then
        self.link: Link | None = None
        self.error: Exception | None = None
        self._open = open
        self._waiting: list[SimpleQueue[None]] = []

    def start(self) -> None:
        try:
            # Not `threading.Thread`, which waits for the new thread to say that it lives: an exception that is meant
            # for the one that starts it may strike the new one, whose number is the same for a moment.
            _thread.start_new_thread(self._run, ())
        except RuntimeError:  # the interpreter is ending and starts no threads
            self._run()

    def _run(self) -> None:
        try:
            self.link = self._open()
        except Exception as error:
            self.error = error
        finally:
            self.ended = True
            for queue in self._waiting:
                queue.put(None)

    def wait(self, seconds: float) -> bool:
        """Whether it ended in time.  (A `threading.Event` is left broken by whoever is interrupted in it.)"""
        queue: SimpleQueue[None] = SimpleQueue()
        self._waiting.append(queue)
        if not self.ended:
            with contextlib.suppress(Empty):
                queue.get(timeout=max(0.0, seconds))
        return self.ended


class Server:
    """One connection at a time, opened when it is needed; `ready(link)` is called for each new one."""

    def __init__(self, endpoint: Endpoint, space: str, clock: Clock, *, ready: Any) -> None:
        self.where = endpoint.shown
        self.space = space
        self._endpoint = endpoint
        self._namespace = space.encode()
        # The server's own time rules; a clock that a test moves is told with each call.
        self._clock = None if isinstance(clock, SystemClock) else clock
        self._ready = ready
        self._heads: dict[bytes, bytes] = {}  # what each call of a script begins with
        self._link: Link | None = None
        self._opening: Opening | None = None
        self._others: list[Link] = []
        self._state = threading.RLock()
        self._pid = os.getpid()
        self._closed = False
        self.opened = 0  # connections so far
        self.channel = channel(space)
        self._calls = os.urandom(8).hex().encode() + b"-"
        self._number = count()

    # --- calls ---

    def run(self, name: str, *arguments: bytes) -> Any:
        """Call a script; a connection that turns out to be lost is opened again, once."""
        return self.finish(self.begin(name, arguments))

    def run_once(self, name: str, *arguments: bytes) -> Any:
        """Call a script that would not answer the same when it is called again: the call has a name, told last."""
        return self.run(name, *arguments, self._calls + b"%d" % next(self._number))

    def begin(self, name: str, arguments: Sequence[bytes]) -> Request:
        """Send a call; `finish` has its answer."""
        deadline = time.monotonic() + TIMEOUT
        called = script(name)
        data = self._data(called, arguments)
        link = self.link(deadline)
        try:
            call = link.send(data, deadline)
        except BrokerUnavailable:
            link = self.link(deadline)
            call = link.send(data, deadline)
        return Request(link, call, called, arguments, deadline)

    def finish(self, request: Request) -> Any:
        """The answer.  Every call of the port may be made twice, so one whose reply was lost is made again."""
        lost, said = False, None
        try:
            try:
                reply = request.link.result(request.call, request.deadline)
            except BrokerUnavailable:
                lost = True
                if self._closed or time.monotonic() >= request.deadline:
                    raise
                reply = self._asked_again(request)
            while isinstance(reply, ReplyError):
                said = _cause(reply)
                reply = self._after(request, said)
            return reply
        except (BrokerUnavailable, BrokerFull) as error:
            if isinstance(error, BrokerFull) and not lost:
                raise
            # The server may have acted on what it did not answer: what it says of the next try is not certain.
            certain = not lost and getattr(error, "certain", False)
            why = f" (it had said: {said})" if said is not None and str(said) not in str(error) else ""
            if certain == getattr(error, "certain", True) and not why:
                raise
            raise BrokerUnavailable(f"{error}{why}", certain=certain) from error

    def now(self) -> int:
        """The time that scripts go by, in ms UTC."""
        return int(self.run("now"))

    def command(self, *parts: bytes, link: Link | None = None) -> Any:
        """A command that is no script, by this link alone where one is given; an error of the server's is raised."""
        deadline = time.monotonic() + TIMEOUT
        if link is None:
            link = self.link(deadline)
        reply = link.result(link.send(command(parts), deadline), deadline)
        if isinstance(reply, ReplyError):
            raise self._named(reply)
        return reply

    # --- pushes ---

    def listen(self) -> tuple[Link, Call]:
        """What ends with the next push to `channel`."""
        link = self.link(time.monotonic() + TIMEOUT)
        if not link.listens:
            self.command(b"SUBSCRIBE", self.channel.encode(), link=link)
            link.listens = True
        return link, link.listen()

    def nudge(self) -> None:
        link = self._link
        if link is not None and self._pid == os.getpid():
            link.nudge()

    # --- the connection ---

    def link(self, deadline: float) -> Link:
        if os.getpid() != self._pid:
            raise ForkedConnection(f"Process {self._pid} opened {self.where}; a fork must connect for itself")
        if self._closed:
            raise BrokerUnavailable(f"{self.where} was closed; connect again", certain=True)
        link = self._link
        if link is not None and link.broken is None:
            return link if not link.is_entered() else self._beside(deadline)
        with self._state:
            opening = self._opening
            if opening is None or opening.ended or time.monotonic() > opening.until:
                opening = Opening(lambda: self._open(deadline), deadline + _GRACE)
                opening.start()
                self._opening = opening
        return self._opened(opening, deadline)

    def _beside(self, deadline: float) -> Link:
        """For a signal's handler that calls while its thread is in the middle of a call: a connection of its own."""
        for link in self._others:
            if link.broken is None and not link.is_entered():
                return link
        opening = Opening(lambda: self._connect(deadline), deadline + _GRACE)
        opening.start()
        link = self._opened(opening, deadline)
        self._others = [*(other for other in self._others if other.broken is None), link]
        return link

    def _opened(self, opening: Opening, deadline: float) -> Link:
        if not opening.wait(deadline - time.monotonic() + _GRACE):
            raise unavailable(self.where, "still connecting", certain=True)
        if opening.error is not None:
            raise opening.error
        if opening.link is None:
            raise unavailable(self.where, "connecting was interrupted", certain=True)
        return opening.link

    def _open(self, deadline: float) -> Link:
        link = self._link = self._connect(deadline)
        if self._closed:
            link.close("it was closed here")
        return link

    def _connect(self, deadline: float) -> Link:
        opened = self._endpoint.open(max(0.1, deadline - time.monotonic()))
        link = Link(opened.sock, where=self.where, tls=opened.tls, on_close=opened.owner.disconnect)
        try:
            self._ready(link)
        except BaseException:
            link.close("the server cannot be used")
            raise
        self._endpoint.watch(link)
        self.opened += 1
        return link

    def close(self) -> None:
        self._closed = True
        for link in (self._link, *self._others):
            if link is not None and os.getpid() == self._pid:
                link.nudge()
                link.close("it was closed here")

    def closed(self) -> bool:
        return self._closed

    # --- answers that are no answers ---

    def _again(self, request: Request) -> Any:
        link = self.link(request.deadline)
        return link.result(
            link.send(self._data(request.script, request.arguments), request.deadline), request.deadline
        )

    def _asked_again(self, request: Request) -> Any:
        """Until there is a reply, or the time is over."""
        while True:
            try:
                return self._again(request)
            except BrokerUnavailable:
                if self._closed or time.monotonic() + _PAUSE >= request.deadline:
                    raise
            time.sleep(_PAUSE)

    def _after(self, request: Request, error: ReplyError) -> Any:
        """What comes of a call that the server answered with an error: made again where that helps, else raised."""
        kind = str(error).partition(" ")[0]
        link = self.link(request.deadline)
        if kind == "NOSCRIPT":
            data = self._data(request.script, request.arguments, whole=True)
            return link.result(link.send(data, request.deadline), request.deadline)
        if time.monotonic() + _PAUSE < request.deadline:
            if kind in _ELSEWHERE:
                if found := _MOVED.match(str(error)):
                    if not self._endpoint.clustered:
                        raise BrokerRefused(
                            f"{self.where} is a node of a cluster; write redis+cluster:// instead of redis://"
                        )
                    self._endpoint.moved(found[1] or "localhost", int(found[2]))
                request.link.close(str(error))
                time.sleep(_PAUSE)
                return self._again(request)
            if kind in _PASSING:
                time.sleep(_PAUSE)
                return self._again(request)
        raise self._named(error)

    def _named(self, error: ReplyError) -> BrokerError:
        text = str(error)
        kind = text.partition(" ")[0]
        if kind in _FULL:
            return BrokerFull(f"Redis at {self.where} takes no more: {text}")
        if kind in _PASSING or kind in _ELSEWHERE:
            return BrokerUnavailable(f"Redis at {self.where} is not ready: {text}", certain=True)
        if kind == "WRONGTYPE":
            return BrokerRefused(
                f"Redis at {self.where} has something of another application's among our keys {self.space}*: {text}; "
                "find it with SCAN and TYPE, or keep ours elsewhere with ?prefix="
            )
        if kind in _REFUSED or _FORBIDDEN in text:
            return BrokerRefused(f"Redis at {self.where} refuses: {text}")
        return BrokerError(f"Redis at {self.where} answered: {text}")

    def _data(self, called: Script, arguments: Sequence[bytes], *, whole: bool = False) -> bytes:
        now = b"" if self._clock is None else b"%d" % self._clock.now_ms()
        head = self._heads.get(called.sha)
        if head is None:
            head = self._heads[called.sha] = words((b"EVALSHA", called.sha, b"1", self._namespace))
        if whole:
            head = words((b"EVAL", called.source, b"1", self._namespace))
        return b"".join((b"*%d\r\n" % (len(arguments) + 5), head, words((now, *arguments))))


def _cause(error: ReplyError) -> ReplyError:
    """The error as the command in the script had it."""
    found = _IN_SCRIPT.match(str(error))
    return error if found is None else ReplyError(found[1])
