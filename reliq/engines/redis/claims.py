"""Claims: settle and lease in one round trip; with nothing to lease, sleep until the server says there is."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from reliq.engines.redis import pack
from reliq.engines.redis.endpoint import TIMEOUT
from reliq.engines.redis.link import Call, Link
from reliq.engines.redis.rows import read_deliveries
from reliq.engines.redis.server import Request, Server
from reliq.engines.redis.sizes import BYTES, CHUNK, TooMuch
from reliq.policy.clock import Clock, SystemClock
from reliq.ports.values import Claimed, Delivery, Receipt, Settlement

FOR_EVER = 1e9
HANDED = struct.Struct("<BQQQQII")  # how a push begins that brings a message (lua/publish_one.lua)
LOOK_EVERY = 0.005  # seconds; how often a wait looks at a clock that does not run by itself


class _Told(msgspec.Struct, array_like=True, gc=False):
    """The first part of an answer of claim.lua; its library packs an empty list as a map."""

    settled: int | list[int] | dict[str, Any]  # a number: so many, and each was simply applied
    live: bool
    batches: int  # that the owner was given so far
    next_due: int | bool
    pause: int  # ms until then, by the server's clock
    wants_alone: bool
    idles: bool  # waiting may bring something
    ids: list[str] = []  # of the deliveries
    disturbed: list[str] | dict[str, Any] = []  # those of them that have to look what they hold


_told = msgspec.msgpack.Decoder(_Told)


class Asked(NamedTuple):
    """What a claim asks for."""

    owner: str
    queues: Sequence[str]
    limit: int
    seq: int
    settlements: Sequence[Settlement] = ()


class Claims:
    """The claims of one process; `_waiting` knows which owner waits, to be woken."""

    def __init__(self, server: Server, clock: Clock) -> None:
        self._server = server
        self._clock = clock
        self._runs = isinstance(clock, SystemClock)
        self._queues: dict[tuple[str, ...], bytes] = {}
        self._waiting: dict[str, tuple[Link, Call]] = {}
        self._state = threading.Lock()
        self._places: dict[str, str] = {}  # what stands of an owner among those to be woken
        self._opened: dict[str, int] = {}  # which connection an owner's last claim had
        self._batches: dict[str, int] = {}  # how many an owner was given, as far as is known here
        self._turns: dict[str, threading.RLock] = {}  # who claims and waits for an owner

    def claim(
        self,
        owner: str,
        queues: Sequence[str],
        limit: int,
        seq: int,
        wait: float,
        settlements: Sequence[Settlement],
    ) -> Claimed:
        asked = Asked(owner, queues, limit, seq, settlements)
        if wait <= 0 or limit <= 0:
            return self._ask(asked, "")[0]
        turn = self._turns.setdefault(owner, threading.RLock())
        try:
            self.wake(owner)  # a claim that blocks returns when its owner claims again
            turn.acquire(timeout=TIMEOUT)
            return self._wait(asked, wait)
        finally:
            if turn._is_owned():  # type: ignore[attr-defined]
                turn.release()

    def _wait(self, asked: Asked, wait: float) -> Claimed:
        # The moments by which it has to answer: by the engine's clock, and by the machine's, lest a still one hang it.
        end, real_end = self._clock.monotonic() + wait, time.monotonic() + wait
        owner = asked.owner
        place = f"{self._server.channel} {asked.seq} {owner}"
        waiting = self._listen(owner)
        try:
            claimed, pause = self._ask(asked, place)
            while pause is not None:
                if not claimed.anew:  # which is to be heard at once
                    left = min(end - self._clock.monotonic(), real_end - time.monotonic())
                    self._sleep(*waiting, min(left, pause), claimed.next_due)
                handed = _handed(waiting[1].reply, owner, asked.seq)
                if handed is not None:
                    delivery, batches = handed
                    anew = self._has_missed(owner, batches, True) or claimed.anew
                    return Claimed(claimed.settled, (delivery,), True, anew=anew)
                over = claimed.anew or min(end - self._clock.monotonic(), real_end - time.monotonic()) <= 0
                with self._state:
                    ours = self._waiting.get(owner) == waiting
                if self._server.closed():
                    break
                if not ours or (over and not waiting[1].done):
                    if not self._withdraw(asked, place):
                        break
                    over = True
                waiting[0].hush(waiting[1])
                waiting = self._listen(owner)
                last, pause = self._ask(asked._replace(settlements=()), "" if over else place)
                claimed = replace(last, settled=claimed.settled, anew=claimed.anew or last.anew)
                if over:
                    break
            return claimed
        finally:
            with self._state:
                if self._waiting.get(owner) == waiting:
                    del self._waiting[owner]
            waiting[0].hush(waiting[1])

    def _listen(self, owner: str) -> tuple[Link, Call]:
        waiting = self._server.listen()
        with self._state:
            self._waiting[owner] = waiting
        return waiting

    def _withdraw(self, asked: Asked, place: str) -> bool:
        """Wait no more; True: the claim was handed something meanwhile, or its owner is gone."""
        names = [queue.encode() for queue in asked.queues]
        told = self._server.run("withdraw", asked.owner.encode(), b"%d" % asked.seq, place.encode(), *names)
        self._places.pop(asked.owner, None)
        return bool(told)

    def wake(self, owner: str) -> None:
        """Let a claim of this owner that waits here return."""
        with self._state:
            waiting = self._waiting.pop(owner, None)
        if waiting is not None:
            waiting[0].end(waiting[1])

    def ahead(
        self, owner: str, queues: Sequence[str], limit: int, seq: int, settlements: Sequence[Settlement]
    ) -> Callable[[], Claimed]:
        """Send a claim; what is returned gives its answer."""
        asked = Asked(owner, queues, limit, seq, settlements)
        request = self.begin(asked, "")
        return lambda: self.finish(asked, request.renewed(), "")[0]

    # --- one round trip ---

    def begin(self, asked: Asked, place: str) -> Request:
        owner, queues, limit, seq, settlements = asked
        arguments: list[bytes] = []
        verdicts = b""
        if settlements:
            verdicts = pack.pack(pack.settlements(settlements, arguments, 9, by=owner))
            together = len(verdicts) + sum(map(len, arguments))
            if len(settlements) > CHUNK or (together > BYTES and len(settlements) > 1):
                raise TooMuch
        told = tuple(queues)
        names = self._queues.get(told)
        if names is None:
            names = self._queues[told] = pack.pack(told)
        stands = self._places.get(owner, "")
        head = (owner.encode(), b"%d" % seq, b"%d" % limit, place.encode(), stands.encode(), names, verdicts)
        return self._server.begin("claim", (*head, *arguments))

    def finish(self, asked: Asked, request: Request, place: str) -> tuple[Claimed, float | None]:
        """The answer, and how many seconds to wait for more; None: it is final."""
        owner = asked.owner
        reply: Any = self._server.finish(request)
        told = _told.decode(reply[0])
        if len(reply) == 1 and place:
            self._places[owner] = place
        else:
            self._places.pop(owner, None)
        claimed = Claimed(
            tuple(pack.settled(asked.settlements, told.settled)),
            read_deliveries(owner, told.ids, *reply[1:], disturbed=told.disturbed) if told.ids else (),
            told.live,
            None if told.next_due is False else int(told.next_due),
            told.wants_alone,
            self._is_anew(owner) | (told.live and self._has_missed(owner, told.batches, bool(told.ids))),
        )
        if not told.idles:
            return claimed, None
        return claimed, FOR_EVER if told.next_due is False else max(0, told.pause) / 1000

    def _is_anew(self, owner: str) -> bool:
        opened = self._server.opened
        before, self._opened[owner] = self._opened.get(owner, opened), opened
        return before != opened

    def _has_missed(self, owner: str, batches: int, brought: bool) -> bool:
        """Whether the owner was given something that has not come here.

        A claim whose reply was lost, or a server that a crash or a fail-over has set back, may have left a name among
        those that idle whose claim is over: what it is handed nobody asks for.
        """
        before, self._batches[owner] = self._batches.get(owner, batches), batches
        return not 0 <= batches - before <= brought

    def _ask(self, asked: Asked, place: str) -> tuple[Claimed, float | None]:
        return self.finish(asked, self.begin(asked, place), place)

    # --- sleeping ---

    def _sleep(self, link: Link, listening: Call, left: float, next_due: int | None) -> None:
        """Until a push came, or the time is over."""
        if self._runs:
            link.wait(listening, time.monotonic() + max(0.0, left))
            return
        end, real_end = self._clock.monotonic() + left, time.monotonic() + left
        while not listening.done and min(end - self._clock.monotonic(), real_end - time.monotonic()) > 0:
            if next_due is not None and next_due <= self._clock.now_ms():
                break
            link.wait(listening, time.monotonic() + LOOK_EVERY)


def _handed(push: Any, owner: str, seq: int) -> tuple[Delivery, int] | None:
    """What a push has brought to this claim (lua/publish_one.lua), and how many batches its owner was given by then.

    None: it only wakes, or is not for it.
    """
    told = push[2] if isinstance(push, list) and len(push) == 3 else b""
    if not isinstance(told, bytes) or len(told) < HANDED.size or told[0] != 1:
        return None
    _, given, batches, fence, published, to, size = HANDED.unpack_from(told)
    at = HANDED.size + to
    if given != seq or told[HANDED.size : at] != owner.encode():
        return None
    id, payload = told[at : at + size].decode(), told[at + size :]
    receipt = Receipt(id, owner, fence)
    return Delivery(receipt, payload, 1, 0, 0, 0, published, published, False, True), batches
