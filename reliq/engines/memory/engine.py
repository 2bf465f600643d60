"""The memory engine: the reference implementation of the rules; every public call is one step under one lock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reliq.engines.memory.bury import bury
from reliq.engines.memory.claim import again, end_expired_holder, take
from reliq.engines.memory.guards import first_refused
from reliq.engines.memory.guards import take as take_keys
from reliq.engines.memory.look import audit, depth, listed
from reliq.engines.memory.owner import Owner
from reliq.engines.memory.publish import publish_one
from reliq.engines.memory.reap import Reaping
from reliq.engines.memory.settle import finish, settle_one
from reliq.engines.memory.store import MemoryStore
from reliq.errors import BrokerRefused
from reliq.ports.refusals import refused_replay
from reliq.ports.values import (
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

MAX_WAIT = 1.0  # seconds; a lost wake costs at most that


class MemoryEngine(MemoryStore):
    """A broker and a store in this process."""

    capabilities = Capabilities(
        name="memory",
        durability="none: everything is gone when this process ends",
        engine=True,
        priorities=True,
        cancel=True,
        due=True,
    )

    # --- publishers ---

    def publish(self, publications: Sequence[Publication]) -> list[Published]:
        with self._step() as memory:
            answers = []
            for publication in publications:
                answer = publish_one(memory, publication)
                while answer.found is not None and end_expired_holder(memory, answer.found):
                    answer = publish_one(memory, publication)
                answers.append(answer)
                finish(memory)
            return answers

    def cancel(self, id: str, *, reason: str = "cancelled") -> Cancelled:
        with self._step() as memory:
            message = memory.messages.by_id.get(id)
            if message is None:
                return Cancelled("unknown")
            if message.waiting:
                memory.messages.end(message, "dropped", reason)
                finish(memory)
                return Cancelled("cancelled", "dropped")
            if message.state == "leased":
                message.cancel = True
                return Cancelled("requested", "leased")
            return Cancelled("ended", message.state)

    def get(self, id: str) -> Record | None:
        with self._step() as memory:
            message = memory.messages.by_id.get(id)
            return message.record() if message else None

    def wait(self, id: str, timeout: float) -> Record | None:
        with self._step() as memory:
            deadline = self._deadline(timeout)
            while (message := memory.messages.by_id.get(id)) and message.live and not self._closed:
                if not deadline.wait(memory.ends):
                    break
            return message.record() if message else None

    def forget(self, id: str) -> bool:
        with self._step() as memory:
            message = memory.messages.by_id.get(id)
            if message is None or message.live:
                return False
            message.forget()
            return True

    # --- workers ---

    def register(self, owner: str, lease: float, about: Mapping[str, str] | None = None) -> None:
        with self._step() as memory:
            now = memory.messages.now
            if owner in memory.graves:
                raise BrokerRefused(
                    f"Owner {owner} is dead; a new process registers under a new id", owner=owner
                )
            known = memory.owners.setdefault(owner, Owner(owner, now, now, 0, dict(about or {})))
            known.renew(now, lease)

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
        with self._step() as memory:
            settled = tuple(settle_one(memory, settlement) for settlement in settlements)
            known = memory.owners.get(owner)
            if known is None:
                return Claimed(settled, live=False)
            known.calls += 1
            if limit <= 0:
                return Claimed(settled)
            if known.seq is not None and seq <= known.seq:
                return _answer(settled, again(known) if seq == known.seq else Claimed())
            claimed = self._take(known, queues, limit, min(wait, MAX_WAIT))
            if claimed.deliveries:
                known.seq, known.batch = seq, tuple(delivery.receipt for delivery in claimed.deliveries)
            return _answer(settled, claimed)

    def _take(self, owner: Owner, queues: Sequence[str], limit: int, wait: float) -> Claimed:
        """Lease what there is, else wait for more."""
        memory, call = self._memory, owner.calls
        deadline = self._deadline(wait)
        claimed = take(memory, owner, queues, limit)
        while not claimed.deliveries and not claimed.wants_alone:
            if not deadline.wait(memory.work, claimed.next_due) or self._closed or owner.calls != call:
                break
            if memory.owners.get(owner.name) is not owner:
                return Claimed(live=False)
            claimed = take(memory, owner, queues, limit)
        return claimed

    def wake(self, owner: str) -> None:
        if self.foreign:
            return
        with self._memory.lock:
            if (known := self._memory.owners.get(owner)) is not None:
                known.calls += 1
                self._memory.work.notify_all()

    def held(self, owner: str) -> list[Receipt]:
        with self._step() as memory:
            known = memory.owners.get(owner)
            return [message.receipt() for message in known.held.values()] if known else []

    def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        with self._step() as memory:
            return [settle_one(memory, settlement) for settlement in settlements]

    def give_back(self, receipts: Sequence[Receipt]) -> int:
        with self._step() as memory:
            honoured = 0
            for receipt in receipts:
                message = memory.messages.by_id.get(receipt.id)
                if message is None or message.owner is None or message.receipt() != receipt:
                    continue
                if message.cancel:
                    memory.messages.end(message, "dropped", "cancelled")
                    finish(memory)
                else:
                    memory.messages.return_(message, refund=True)
                honoured += 1
            return honoured

    def renew(self, owner: str, lease: float) -> Renewal:
        with self._step() as memory:
            known = memory.owners.get(owner)
            if known is None:
                return Renewal(False)
            known.renew(memory.messages.now, lease)
            return Renewal(True, tuple(message.id for message in known.held.values() if message.cancel))

    def bury(
        self, owner: str, *, started: Sequence[Receipt] | None, guilty: Sequence[Settlement] = ()
    ) -> Ended:
        with self._step() as memory:
            known = owner in memory.owners
            moved = bury(memory, owner, started, guilty)
            return Ended(tuple(moved), (owner,) if known else ())

    def reap(self, limit: int = 1000, *, grace: float = 0.0) -> Ended:
        with self._step() as memory:
            return Reaping(memory, limit).run(grace)

    # --- operators ---

    def queues(self) -> list[str]:
        with self._step() as memory:
            return sorted(memory.messages.lines)

    def depth(self, queue: str) -> Depth:
        with self._step() as memory:
            return depth(memory, queue)

    def owners(self) -> list[OwnerInfo]:
        with self._step() as memory:
            return [owner.info() for owner in memory.owners.values()]

    def replay(self, id: str, *, queue: str | None = None) -> bool:
        with self._step() as memory:
            message = memory.messages.by_id.get(id)
            if message is None or message.state != "failed":
                return False
            guards = message.envelope.on_replay
            if (found := first_refused(memory, guards)) is not None:
                raise refused_replay(id, found)
            memory.messages.revive(message, queue or message.queue)
            take_keys(memory, guards, message.due)
            finish(memory)
            return True

    def remove(self, id: str) -> bool:
        with self._step() as memory:
            message = memory.messages.by_id.get(id)
            if message is None or message.live:
                return False
            memory.messages.forget(message)
            return True

    def purge(self, queue: str) -> int:
        with self._step() as memory:
            purged = 0
            for message in [m for m in memory.messages.by_id.values() if m.queue == queue and m.waiting]:
                if message.waiting:  # an earlier one's `on_end` may have cancelled it
                    memory.messages.end(message, "dropped", "purged")
                    finish(memory)
                    purged += 1
            return purged

    def audit(self) -> Audit:
        with self._step() as memory:
            return audit(memory)

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
        with self._step() as memory:
            return listed(
                memory, states=states, queue=queue, task=task, reason=reason, limit=limit, after=after
            )


def _answer(settled: tuple[Settled, ...], claimed: Claimed) -> Claimed:
    return Claimed(settled, claimed.deliveries, claimed.live, claimed.next_due, claimed.wants_alone)
