"""The whole life of some messages on one engine, every call of the ports in it; for faults below the ports.

A call that meets a fault raises `BrokerUnavailable` (or `PublishUnknown`'s cause) and is made again, as its users do;
whatever it then answers, I1 to I4 must hold.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from reliq.errors import BrokerUnavailable
from reliq.ports import records
from reliq.ports.values import ENDED, Delivery, Publication, Receipt, Settled, Settlement
from reliq.wire.message import Add, Ending, Envelope, FollowUp, Incr, IndexPut, Remove

LEASE = 30.0
IDS = ("plain", "locked", "later", "stubborn", "poison", "unwanted", "parent")


class Life:
    """One life; `ran` has each delivery that was started, `applied` each settlement that counted."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.ran: Counter[Receipt] = Counter()
        self.applied: Counter[Receipt] = Counter()
        self.answers: list[Settled] = []
        self.failures = 0
        self._seqs: Counter[str] = Counter()

    def insist(self, call: Callable[[], Any]) -> Any:
        """Make the call until it is answered."""
        while True:
            try:
                return call()
            except BrokerUnavailable:
                self.failures += 1
                assert self.failures < 20, "one cut is no outage"

    def live(self) -> None:
        self.publish()
        self.work()
        self.look()
        self.drain()

    # --- the acts ---

    def publish(self) -> None:
        frees = (Ending("any", (Remove("lock", holder="locked"),)),)
        after = (Ending("done", (), (FollowUp(_envelope("child"), "result"),)),)
        items = [
            Publication(_envelope("plain"), effects=(Incr("published"),)),
            Publication(_envelope("locked", on_end=frees), (Add("lock", b"1", holder="locked"),)),
            Publication(_envelope("later", delay=1)),
            Publication(_envelope("stubborn")),
            Publication(_envelope("poison", max_crashes=1)),
            Publication(_envelope("unwanted")),
            Publication(_envelope("parent", on_end=after), effects=(IndexPut("index", "parent", 1),)),
        ]
        for item in items[:3]:
            self.insist(lambda item=item: self.engine.publish([item]))
        statuses = [p.status for p in self.insist(lambda: self.engine.publish(items[3:]))]
        assert set(statuses) <= {"accepted", "duplicate"}
        assert self.insist(lambda: self.engine.publish(items[:1]))[0].status == "duplicate"
        assert self.insist(lambda: self.engine.cancel("unwanted")).status in ("cancelled", "ended")

    def work(self) -> None:
        self.register("one")
        first = self.claim("one", limit=2)
        self.insist(lambda: self.engine.renew("one", LEASE))
        verdicts = [self.run(first[0], "done", value=b"1"), self.run(first[1], "retry", after=1)]
        second = self.claim("one", limit=2, settlements=verdicts)
        assert {r.id for r in self.insist(lambda: self.engine.held("one"))} >= {d.receipt.id for d in second}
        self.settle([self.run(second[0], "failed", error=b'["E","no"]', reason="no")])
        back = [d.receipt for d in second[1:]]
        self.insist(lambda: self.engine.give_back(back))
        third = self.claim("one", limit=1)
        started = [d.receipt for d in third]
        self.ran.update(started)
        self.insist(lambda: self.engine.cancel(third[0].receipt.id))
        self.insist(lambda: self.engine.renew("one", LEASE))
        self.insist(lambda: self.engine.bury("one", started=started))
        self.insist(lambda: self.engine.reap())
        self.claim("one", limit=1)  # it is dead: it is given nothing

    def look(self) -> None:
        for call in (
            lambda: self.engine.get("plain"),
            lambda: self.engine.wait("plain", 0.0),
            lambda: self.engine.depth("q"),
            lambda: self.engine.queues(),
            lambda: self.engine.owners(),
            lambda: self.engine.list(limit=3),
            lambda: self.engine.store_get("published"),
            lambda: self.engine.store_put("note", b"x", ttl=60.0),
            lambda: sorted(records(self.engine, "note")),
            lambda: self.engine.store_drop("note"),
            lambda: self.engine.index_due("index", before=9),
            lambda: self.engine.audit(),
        ):
            self.insist(call)

    def drain(self) -> None:
        self.register("two")
        until = time.monotonic() + 30
        while self.left():
            assert time.monotonic() < until, f"left: {self.left()}"
            deliveries = self.claim("two", limit=10, wait=0.2)
            self.settle([self.run(d, "done", value=b"2") for d in deliveries])
        self.insist(lambda: self.engine.replay("plain"))  # it is done: nothing happens

    # --- the calls ---

    def register(self, owner: str) -> None:
        self.insist(lambda: self.engine.register(owner, LEASE))

    def claim(
        self, owner: str, *, limit: int, wait: float = 0.0, settlements: Sequence[Settlement] = ()
    ) -> list[Delivery]:
        self._seqs[owner] += 1
        seq = self._seqs[owner]
        claimed = self.insist(
            lambda: self.engine.claim(owner, ["q"], limit=limit, seq=seq, wait=wait, settlements=settlements)
        )
        self._note(settlements, claimed.settled)
        return list(claimed.deliveries)

    def settle(self, settlements: list[Settlement]) -> None:
        if settlements:
            self._note(settlements, self.insist(lambda: self.engine.settle(settlements)))

    def run(self, delivery: Delivery, kind: Any, **fields: Any) -> Settlement:
        self.ran[delivery.receipt] += 1
        return Settlement(delivery.receipt, kind, **fields)

    def left(self) -> list[str]:
        records = self.insist(lambda: self.engine.list(limit=100))
        return [record.id for record in records if record.state not in ENDED]

    def _note(self, settlements: Sequence[Settlement], answers: Sequence[Settled]) -> None:
        assert [a.id for a in answers] == [s.receipt.id for s in settlements]
        for settlement, answer in zip(settlements, answers, strict=True):
            assert answer.status in ("applied", "repeated"), f"{answer} although nobody else had it"
            self.applied[settlement.receipt] += answer.status == "applied"

    # --- what must hold ---

    def check(self) -> None:
        records = {record.id: record for record in self.engine.list(limit=100)}
        assert records.keys() == {*IDS, "child"}, "I1, I2: all that was confirmed, and nothing else"
        assert all(record.state in ENDED for record in records.values()), "I1"
        assert {r.id for r in self.ran} <= records.keys(), "I2"
        assert max(self.ran.values()) == 1, "I3: no claim was handed out twice to be run"
        assert not self.applied or max(self.applied.values()) == 1, "I4"
        for id in records:
            story = [step for step in self.engine.get(id).transitions if step.to in ENDED]
            assert len(story) == 1, f"I4: {id} ended {len(story)} times"
        audit = self.engine.audit()
        assert audit.balanced, f"I11: {audit}"
        assert audit.accepted == len(records)
        assert self.engine.store_get("lock") is None, "the lock outlived its message"
        assert self.engine.store_get("published").data == b"1", "an effect happened twice, or never"
        assert records["unwanted"].state == "dropped"
        assert self.engine.index_due("index", before=9) == [("parent", 1)]


def _envelope(id: str, **fields: Any) -> Envelope:
    return Envelope(v=1, id=id, task="task", queue="q", body=b"[[],{}]", keep=60_000, **fields)
