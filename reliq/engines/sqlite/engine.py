"""The SQLite engine: every public call is one transaction on one file that many processes share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from reliq.engines.sqlite import claim as claiming
from reliq.engines.sqlite import operators
from reliq.engines.sqlite import owners as owning
from reliq.engines.sqlite import wake as waking
from reliq.engines.sqlite.connection import Connection, Step
from reliq.engines.sqlite.location import WORDS, Location
from reliq.engines.sqlite.publish import encoded, publish
from reliq.engines.sqlite.reap import Reaping
from reliq.engines.sqlite.records import SqliteStore
from reliq.engines.sqlite.rows import find_record
from reliq.engines.sqlite.settle import settle
from reliq.errors import BrokerError
from reliq.policy.clock import Clock
from reliq.ports.values import (
    LIVE,
    Audit,
    Cancelled,
    Capabilities,
    Claimed,
    Depth,
    Ended,
    OwnerInfo,
    Publication,
    Published,
    Receipt,
    Record,
    Renewal,
    Settled,
    Settlement,
    State,
)

SWEEP = 60_000  # ms
MAX_WAIT = 1.0  # seconds; a lost wake costs at most that
_BOOK = "UPDATE book SET done = done + ?, failed = failed + ?, dropped = dropped + ?, purged = purged + ?"
_json = msgspec.json.Encoder()
logger = logging.getLogger("reliq.sqlite")


class SqliteEngine(SqliteStore):
    """A broker and a store in one file."""

    def __init__(self, place: Location, clock: Clock) -> None:
        self.url = place.url
        self.capabilities = Capabilities(
            name="sqlite",
            durability=WORDS[place.durability],
            engine=True,
            priorities=True,
            cancel=True,
            due=True,
            shared=True,
            survives_restart=True,
        )
        self._clock = clock
        self._closed = False
        self._swept = 0  # ms UTC of the last look for the sockets of dead processes
        self._waking = waking.Waking(place.path, clock)
        self._link = Connection(place, clock, on_commit=self._complete)

    # --- publishers ---

    def publish(self, publications: Sequence[Publication]) -> list[Published]:
        if not publications:
            return []
        return self._link.write(publish, publications, encoded(publications))

    def cancel(self, id: str, *, reason: str = "cancelled") -> Cancelled:
        return self._link.write(operators.cancel, id, reason)

    def get(self, id: str) -> Record | None:
        return self._link.read(find_record, id)

    def wait(self, id: str, timeout: float) -> Record | None:
        record = self.get(id)
        if record is None or record.state not in LIVE or timeout <= 0:
            return record
        call = self._waking.call(timeout)
        try:
            while call.left > 0:
                record = self._link.write(_record_or_enlist, id, call.address)
                if record is None or record.state not in LIVE:
                    return record
                call.sleep(self._clock.now_ms() + round(MAX_WAIT * 1000))
                if self._closed:
                    return record
            return self.get(id)
        finally:
            self._waking.release(call)

    def forget(self, id: str) -> bool:
        return self._link.write(operators.forget, id)

    # --- workers ---

    def register(self, owner: str, lease: float, about: Mapping[str, str] | None = None) -> None:
        self._link.write(owning.register, owner, lease, about or {})

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
        names = _json.encode(list(queues)).decode()
        wait = min(wait, MAX_WAIT) if limit > 0 else 0.0
        if not settlements and wait <= 0 and (nothing := self._nothing(owner, names, seq)) is not None:
            return nothing if limit > 0 else Claimed(live=nothing.live)
        if wait <= 0:
            settled, taken, deliveries = self._take(owner, names, limit, seq, settlements, None)
            return Claimed(settled, deliveries, taken.live, taken.next_due, taken.wants_alone)
        call = self._waking.call(wait, owner=owner)
        try:
            settled, taken, deliveries = self._take(owner, names, limit, seq, settlements, call)
            while taken.idle and not self._closed and call.left > 0:
                call.sleep(taken.next_due)
                if self._closed:
                    break
                # One that was recalled is still listed: it leaves, and takes what it may have been woken for as well.
                if call.recalled or call.left > 0 or self._nothing(owner, names, seq) is None:
                    _, taken, deliveries = self._take(owner, names, limit, seq, (), call)
                if call.recalled:
                    break
            return Claimed(settled, deliveries, taken.live, taken.next_due, taken.wants_alone)
        finally:
            self._waking.release(call)

    def wake(self, owner: str) -> None:
        if not self._link.foreign:
            self._waking.recall(owner)

    def held(self, owner: str) -> list[Receipt]:
        return self._link.read(owning.held, owner)

    def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        return self._link.write(settle, settlements) if settlements else []

    def give_back(self, receipts: Sequence[Receipt]) -> int:
        return self._link.write(owning.give_back, receipts) if receipts else 0

    def renew(self, owner: str, lease: float) -> Renewal:
        return self._link.write(owning.renew, owner, lease)

    def bury(
        self, owner: str, *, started: Sequence[Receipt] | None, guilty: Sequence[Settlement] = ()
    ) -> Ended:
        buried, moved = self._link.write(owning.bury, owner, started, guilty)
        return Ended(tuple(moved), (owner,) if buried else ())

    def reap(self, limit: int = 1000, *, grace: float = 0.0) -> Ended:
        now = self._clock.now_ms()
        if abs(now - self._swept) >= SWEEP:
            self._swept = now
            self._waking.sweep()
        return Reaping(self._link, now, limit).run(grace)

    # --- operators ---

    def queues(self) -> list[str]:
        return self._link.read(operators.queues)

    def depth(self, queue: str) -> Depth:
        return self._link.read(operators.depth, queue)

    def owners(self) -> list[OwnerInfo]:
        return self._link.read(owning.info)

    def replay(self, id: str, *, queue: str | None = None) -> bool:
        return self._link.write(operators.replay, id, queue)

    def remove(self, id: str) -> bool:
        return self._link.write(operators.remove, id)

    def purge(self, queue: str) -> int:
        purged, done = 0, False
        upto = self._link.read(operators.last)  # what is published meanwhile stays, or this might never end
        while not done:
            some, done = self._link.write(operators.purge_some, queue, upto, 1000)
            purged += some
        return purged

    def audit(self) -> Audit:
        return self._link.snapshot(operators.audit)

    def close(self) -> None:
        if self._closed or self._link.foreign:
            return
        self._closed = True
        self._waking.close()
        self._link.close()

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
        return self._link.read(operators.listed, states, queue, task, reason, limit, after)

    # --- claims ---

    def _nothing(self, owner: str, queues: str, seq: int) -> Claimed | None:
        """The answer to a claim that would do nothing, without the write lock; None: there is something to do."""
        seen = self._link.read(claiming.look, owner, queues)
        if seen is None or not seen.live:
            return Claimed(live=False)
        if seq <= seen.seq or not seen.idle(self._clock.now_ms()):
            return None
        return Claimed(next_due=seen.next_due)

    def _take(
        self,
        owner: str,
        queues: str,
        limit: int,
        seq: int,
        settlements: Sequence[Settlement],
        call: waking.Call | None,
    ) -> tuple[tuple[Settled, ...], claiming.Taken, Any]:
        """Settle and lease; with a `call`, be woken if there is nothing to lease."""

        def step(step: Step) -> tuple[tuple[Settled, ...], claiming.Taken]:
            settled = tuple(settle(step, settlements)) if settlements else ()
            taken = claiming.take(step, owner, queues, limit, seq)
            if call is not None and call.address:
                if taken.idle and not taken.deaf and not call.recalled:
                    waking.enlist(step, call.address, step.now + round(call.left * 1000), queues=queues)
                    call.listed = True
                elif call.listed:
                    waking.delist(step, call.address)  # or a wake that others wait for would be sent here
            return settled, taken

        def read(execute: Any, result: Any) -> Any:
            return (*result, claiming.read_batch(execute, owner, result[1]))

        answer: Any = self._link.write(step, then=read)
        return answer  # type: ignore[no-any-return]

    # --- the end of every transaction ---

    def _complete(self, step: Step) -> Callable[[], None] | None:
        """Bring the books up to date; what to do after the commit."""
        if step.done or step.failed or step.dropped or step.purged:
            step.execute(_BOOK, (step.done, step.failed, step.dropped, step.purged))
        if not step.woken and not step.ended:
            return None
        found = waking.called(step)
        return (lambda: self._wake(found)) if found else None

    def _wake(self, found: Sequence[tuple[str, str | None]]) -> None:
        try:
            for address, queue in found:
                if not self._waking.send(address) and queue is not None and not self._closed:
                    self._link.write(Step.wake, queue)  # its row is gone, so this comes to an end
        except (BrokerError, OSError) as error:
            # The step was committed: its caller must not hear that it was not.
            logger.debug("a wake was lost, which costs at most %.0f s: %s", MAX_WAIT, error)


def _record_or_enlist(step: Step, id: str, address: str) -> Record | None:
    record = find_record(step.execute, id)
    if address and record is not None and record.state in LIVE:
        waking.enlist(step, address, step.now + round(MAX_WAIT * 1000), message=id)
    return record
