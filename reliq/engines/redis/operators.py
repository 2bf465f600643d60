"""What operators ask and do: these may look at every message, in slices, so that the server serves others meanwhile."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

import msgspec

from reliq.engines.redis import pack
from reliq.engines.redis.rows import CODES, Row, read_record, read_row
from reliq.engines.redis.server import Server
from reliq.errors import UndecodableMessage
from reliq.ports.refusals import refused_replay
from reliq.ports.values import Audit, Depth, OwnerInfo, Record, State
from reliq.wire.codec import decode
from reliq.wire.message import Guard

LOOKED_AT = b"1000"  # messages that one slice looks at
STEP = b"500"
KEPT = 1000  # ids beyond twice what is asked for, so that they are seldom sorted


class RedisOperators:
    """The operators' part of the engine."""

    _server: Server

    def queues(self) -> list[str]:
        told = pack.listed(self._server.run("queues", b"", b"0"))
        return sorted(queue for queue, ready, due, held, _ in told if ready or due or held)

    def depth(self, queue: str) -> Depth:
        """`oldest` is exact up to 1,000 ready messages; beyond, it is the oldest of each priority's first 100."""
        ((_, ready, due, held, oldest),) = pack.listed(self._server.run("queues", queue.encode(), LOOKED_AT))
        return Depth(queue, ready, due, held, None if oldest is False else oldest)

    def owners(self) -> list[OwnerInfo]:
        told = sorted(pack.listed(self._server.run("owners")), key=lambda one: (one[1], one[0]))
        return [
            OwnerInfo(name, "live", since, expires, held, msgspec.json.decode(about, type=dict[str, str]))
            for name, since, expires, held, about in told
        ]

    def replay(self, id: str, *, queue: str | None = None) -> bool:
        found = self._server.run("get", id.encode(), b"")
        record = None if found is None else read_record((id, *found))
        if record is None or record.state != "failed":
            return False
        guards = _on_replay(record.payload)
        packed = pack.pack(pack.rows(guards)) if guards else b""
        answer = self._server.run_once("replay", id.encode(), (queue or "").encode(), packed)
        if isinstance(answer, bytes):
            raise refused_replay(id, pack.found(guards, pack.unpack(answer)))
        return bool(answer)

    def remove(self, id: str) -> bool:
        return bool(self._server.run_once("remove", id.encode()))

    def purge(self, queue: str) -> int:
        purged, last, done = 0, b"", 0
        while not done:
            some, done, last = self._server.run("purge", queue.encode(), last, STEP)
            purged += some
        return purged

    def audit(self) -> Audit:
        """The counters are of one instant; then every record is looked at, in slices."""
        accepted, ready, due, leased, done, failed, dropped, _ = pack.unpack(self._server.run("audit"))
        states = {
            "ready": ready,
            "due": due,
            "leased": leased,
            "done": done,
            "failed": failed,
            "dropped": dropped,
        }
        suspects = [(id, rule) for id, row in self._scan() if (rule := _breach(row))]
        broken = tuple(
            (id, rule) for id, rule in suspects if (row := self._row(id)) is not None and _breach(row)
        )
        return Audit(accepted, states, broken)

    def list(
        self,
        *,
        states: Sequence[State] = (),
        queue: str | None = None,
        task: str | None = None,
        reason: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> list[Record]:
        first = 0
        if after is not None:
            row = self._row(after)
            if row is None:
                return []
            first = row.accepted
        codes = "".join(CODES[state] for state in states)
        chosen = _first(limit, self._scan(codes, queue or "", task or "", reason or "", first))
        found = [self._server.run("get", id.encode(), b"") for id in chosen]
        records = [
            read_record((id, *told)) for id, told in zip(chosen, found, strict=True) if told is not None
        ]
        return [msgspec.structs.replace(record, transitions=()) for record in records]

    def _scan(
        self, states: str = "", queue: str = "", task: str = "", reason: str = "", after: int = 0
    ) -> Iterator[tuple[str, Row]]:
        """Messages that fit, in no order; one may come twice."""
        cursor = b"0"
        wanted = (states.encode(), queue.encode(), task.encode(), reason.encode(), b"%d" % after)
        while True:
            cursor, *found = self._server.run("scan", cursor, LOOKED_AT, *wanted)
            for id, raw in zip(found[::2], found[1::2], strict=True):
                yield id.decode(), read_row(raw)
            if cursor == b"0":
                return

    def _row(self, id: str) -> Row | None:
        found = self._server.run("get", id.encode(), b"")
        return None if found is None else read_row(found[0])


def _first(limit: int, found: Iterator[tuple[str, Row]]) -> list[str]:
    """The ids accepted first; of a million no more are kept at a time than it takes."""
    accepted: dict[str, int] = {}
    for id, row in found:
        accepted[id] = row.accepted
        if len(accepted) > 2 * limit + KEPT:
            accepted = {id: accepted[id] for id in heapq.nsmallest(limit, accepted, key=accepted.__getitem__)}
    return heapq.nsmallest(limit, accepted, key=accepted.__getitem__)


def _on_replay(payload: bytes) -> tuple[Guard, ...]:
    try:
        return decode(payload, limit=1 << 62).on_replay
    except UndecodableMessage:
        return ()


def _breach(row: Row) -> str | None:
    """Which rule a row breaks."""
    if row.leased != bool(row.claimed) and row.live:
        return "is leased if and only if an owner holds it"
    if row.live == bool(row.ended):
        return "has an end if and only if it ended"
    if row.settled > row.fence:
        return "was settled under a fence it once had"
    if row.state == 4 and (row.settled == 0 or row.settled != row.fence):
        return "is done only by a settlement of the lease it had"
    return None
