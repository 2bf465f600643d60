"""The Redis engine: every public call is one script, made again when its reply was lost."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from reliq.engines.redis import pack
from reliq.engines.redis.claims import Claims
from reliq.engines.redis.endpoint import Endpoint
from reliq.engines.redis.operators import RedisOperators
from reliq.engines.redis.promise import Promise
from reliq.engines.redis.rows import NAMES, read_record, row_end
from reliq.engines.redis.server import Server
from reliq.engines.redis.sizes import CHUNK, TooMuch, slices
from reliq.engines.redis.store import RedisStore
from reliq.engines.redis.sweeps import Sweeps
from reliq.errors import BrokerError, BrokerRefused, BrokerUnavailable
from reliq.policy.clock import Clock
from reliq.ports.values import (
    LIVE,
    Cancelled,
    Capabilities,
    Claimed,
    Ended,
    Moved,
    Publication,
    Published,
    Receipt,
    Record,
    Renewal,
    Settled,
    Settlement,
)
from reliq.wire.codec import HARD_MAX_MESSAGE, encode
from reliq.wire.message import Envelope

GRAVE = b"60000"  # ms for which a buried owner's name is refused
FRESH = 500  # ms a sweep may be on its way and still bury owners
MAX_WAIT = 1.0  # seconds; what a lost word of a message's end costs at most
MAX_CLAIM = 4.0  # seconds that a claim waits: less than SOON of lua/lib/rows.lua, and than TIMEOUT
_UNENCODABLE = (ValueError, TypeError, OverflowError)


class RedisEngine(RedisOperators, RedisStore):
    """A broker and a store on one Redis."""

    def __init__(self, endpoint: Endpoint, space: str, clock: Clock) -> None:
        self.url = endpoint.shown
        self._clock = clock
        self._promise = Promise(endpoint)
        self._server = Server(endpoint, space, clock, ready=self._promise.check)
        self._claims = Claims(self._server, clock)
        self._sweeps = Sweeps(clock)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            name="redis",
            durability=self._promise.words,
            engine=True,
            priorities=True,
            cancel=True,
            due=True,
            shared=True,
            survives_restart=True,
            ahead=True,
            sweeps=True,
        )

    # --- publishers ---

    def publish(self, publications: Sequence[Publication]) -> list[Published]:
        if len(publications) == 1 and pack.is_plain(publications[0]):
            return [self._publish_one(publications[0].envelope)]
        answers: list[Published] = []
        link = self._promise.writing(self._server)
        for first in range(0, len(publications), CHUNK):
            try:
                self._publish(publications[first : first + CHUNK], answers)
            except BrokerError as error:
                if not _is_certain(error) or not any(answer.status == "accepted" for answer in answers):
                    raise
                # What was accepted stays accepted, and of the rest it is certain that it was not.
                rest = publications[len(answers) :]
                answers += [Published(p.envelope.id, "refused", error=str(error)) for p in rest]
                break
        if answers and link is not None:
            self._promise.wait_for_replicas(self._server, link)
        return answers

    def _publish_one(self, envelope: Envelope) -> Published:
        """Publish a plain message: most calls, and somebody waits for each."""
        id = envelope.id
        try:
            payload = encode(envelope, limit=HARD_MAX_MESSAGE)
        except _UNENCODABLE as error:
            return Published(id, "refused", error=str(error))
        link = self._promise.writing(self._server)
        end = row_end(envelope, pack.CHOSEN_WINDOW if envelope.chosen else pack.WINDOW)
        words = (id.encode(), envelope.queue.encode(), b"%d" % envelope.priority)
        accepted = self._server.run("publish_one", *words, end, payload)
        if link is not None:
            self._promise.wait_for_replicas(self._server, link)
        return Published(id, "accepted" if accepted else "duplicate")

    def _publish(self, publications: Sequence[Publication], answers: list[Published]) -> None:
        """Publish in requests of a bounded size; what each is answered joins `answers`."""
        payloads: list[bytes] = []
        refused: dict[int, Published] = {}
        for i, publication in enumerate(publications):
            try:
                payloads.append(encode(publication.envelope, limit=HARD_MAX_MESSAGE))
            except _UNENCODABLE as error:
                refused[i] = Published(publication.envelope.id, "refused", error=str(error))
        sent = [p for i, p in enumerate(publications) if i not in refused] if refused else publications
        place = len(answers)
        try:
            for first, end in slices(list(map(len, payloads))):
                answers += self._send(sent[first:end], payloads[first:end])
        finally:
            for i, answer in sorted(refused.items()):
                if place + i <= len(answers):
                    answers.insert(place + i, answer)

    def _send(self, sent: Sequence[Publication], payloads: list[bytes]) -> list[Published]:
        if all(map(pack.is_plain, sent)):
            runs = pack.runs(sent, payloads, 3)
            told = self._server.run("publish_plain", pack.pack(runs), *payloads)
        else:
            items = [pack.publication(p, payloads, 3) for p in sent]
            told = self._server.run("publish", pack.pack(items), *payloads)
        if isinstance(told, int):
            return [Published(p.envelope.id, "accepted") for p in sent]
        return [_published(p, one) for p, one in zip(sent, pack.unpack(told), strict=True)]

    def cancel(self, id: str, *, reason: str = "cancelled") -> Cancelled:
        before = self._server.run_once("cancel", id.encode(), (pack.text(reason) or "").encode())
        if before < 0:
            return Cancelled("unknown")
        state = NAMES[before]
        if state == "leased":
            return Cancelled("requested", state)
        return Cancelled("cancelled", "dropped") if state in LIVE else Cancelled("ended", state)

    def get(self, id: str) -> Record | None:
        return self._get(id, b"")

    def wait(self, id: str, timeout: float) -> Record | None:
        end = self._clock.monotonic() + timeout
        real_end = time.monotonic() + timeout
        record = self._get(id, b"")
        while record is not None and record.state in LIVE and not self._server.closed():
            left = min(end - self._clock.monotonic(), real_end - time.monotonic(), MAX_WAIT)
            if left <= 0:
                break
            link, listening = self._server.listen()
            try:
                record = self._get(id, self._server.channel.encode())
                if record is None or record.state not in LIVE:
                    break
                link.wait(listening, time.monotonic() + left)
            finally:
                link.hush(listening)
            if not self._server.closed():
                record = self._get(id, b"")
        return record

    def forget(self, id: str) -> bool:
        return bool(self._server.run("forget", id.encode()))

    # --- workers ---

    def register(self, owner: str, lease: float, about: Mapping[str, str] | None = None) -> None:
        told = msgspec.json.encode(dict(about or {}))
        if not self._server.run("register", owner.encode(), _ms(lease), told, GRAVE):
            raise BrokerRefused(f"Owner {owner} is dead; a new process registers under a new id", owner=owner)

    def claim(
        self,
        owner: str,
        queues: Sequence[str],
        *,
        limit: int,
        seq: int,
        wait: float = 0.0,
        settlements: Sequence[Settlement] = (),
    ) -> Claimed:
        most, wait = min(limit, CHUNK), min(wait, MAX_CLAIM)
        try:
            return self._claims.claim(owner, queues, most, seq, wait, settlements)
        except TooMuch:
            settled = tuple(self.settle(settlements))
            claimed = self._claims.claim(owner, queues, most, seq, wait, ())
            return msgspec.structs.replace(claimed, settled=settled)

    def claim_ahead(
        self,
        owner: str,
        queues: Sequence[str],
        *,
        limit: int,
        seq: int,
        settlements: Sequence[Settlement] = (),
    ) -> Callable[[], Claimed]:
        try:
            return self._claims.ahead(owner, queues, min(limit, CHUNK), seq, settlements)
        except TooMuch:
            claimed = self.claim(owner, queues, limit=limit, seq=seq, settlements=settlements)
            return lambda: claimed

    def wake(self, owner: str) -> None:
        self._claims.wake(owner)

    def held(self, owner: str) -> list[Receipt]:
        return [
            Receipt(id, owner, fence) for id, fence in pack.listed(self._server.run("held", owner.encode()))
        ]

    def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        answers: list[Settled] = []
        for first, end in slices(pack.weights(settlements)):
            some = settlements[first:end]
            arguments: list[bytes] = []
            items = pack.settlements(some, arguments, 3)
            told = pack.unpack(self._server.run("settle", pack.pack(items), *arguments))
            answers += pack.settled(some, told)
        return answers

    def give_back(self, receipts: Sequence[Receipt]) -> int:
        if not receipts:
            return 0
        given: int = self._server.run("give_back", pack.pack([(r.id, r.owner, r.fence) for r in receipts]))
        return given

    def renew(self, owner: str, lease: float) -> Renewal:
        told = self._server.run("renew", owner.encode(), _ms(lease))
        if told is None:
            return Renewal(False)
        swept, stop = told
        self._sweeps.heard(swept)
        return Renewal(True, tuple(id.decode() for id in stop))

    def bury(
        self, owner: str, *, started: Sequence[Receipt] | None, guilty: Sequence[Settlement] = ()
    ) -> Ended:
        ran = b"" if started is None else pack.pack([(r.id, r.fence) for r in started if r.owner == owner])
        arguments: list[bytes] = []
        judged = pack.settlements([one for one in guilty if one.receipt.owner == owner], arguments, 5)
        verdicts = pack.pack(judged) if guilty else b""
        known, moved = self._server.run("bury", owner.encode(), ran, verdicts, *arguments)
        return Ended(_moved(pack.listed(moved)), (owner,) if known else ())

    def reap(self, limit: int = 1000, *, grace: float = 0.0) -> Ended:
        return _ended(self._reap(limit, grace))

    def sweep(self, *, every: float, grace: float = 0.0) -> tuple[Ended, float]:
        left = self._sweeps.left(every)
        if left > 0:
            return Ended(), left
        told = self._reap(1000, grace, self._sweeps.unless(every))
        if isinstance(told, int):
            return Ended(), self._sweeps.was_left(told, every)
        return _ended(told), self._sweeps.done(every)

    def _reap(self, limit: int, grace: float, *unless: bytes) -> Any:
        latest = b"%d" % (self._server.now() + FRESH)
        return self._server.run("reap", b"%d" % min(limit, 5000), _ms(grace), GRAVE, latest, *unless)

    def _get(self, id: str, channel: bytes) -> Record | None:
        found = self._server.run("get", id.encode(), channel)
        return None if found is None else read_record((id, *found))

    def close(self) -> None:
        self._server.close()


def _is_certain(error: BrokerError) -> bool:
    """Whether what it ended was certainly not done."""
    return not isinstance(error, BrokerUnavailable) or getattr(error, "certain", False)


def _published(publication: Publication, told: Any) -> Published:
    id = publication.envelope.id
    if told == 0:
        return Published(id, "accepted")
    if told == 1:
        return Published(id, "duplicate")
    return Published(id, "refused", found=pack.found(publication.guards, told))


def _ended(told: bytes) -> Ended:
    moved, gone, purged, more = pack.unpack(told)
    return Ended(_moved(moved or ()), tuple(gone or ()), purged, more)


def _moved(told: Sequence[Any]) -> tuple[Moved, ...]:
    return tuple(Moved(id, task, queue, state, reason or None) for id, task, queue, state, reason in told)


def _ms(seconds: float) -> bytes:
    return b"%d" % math.ceil(seconds * 1000)
