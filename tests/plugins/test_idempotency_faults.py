"""A lost request, a lost reply and a death after every single operation: the end is the same as without.

One key is sent twice and worked off; the n-th operation of the engine meets the fault, for every n there is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reliq import Fail, Reliq, Retry, current
from reliq.errors import BrokerUnavailable, GuardRefused, PublishRefused, PublishUnknown
from reliq.policy.ids import new_id
from reliq.ports import records
from reliq.ports.values import ENDED
from reliq.testing.faults import Faulty, at
from reliq.worker.job import Job
from reliq.worker.runner import Runner
from reliq_idempotency import Idempotency

AWAY = (BrokerUnavailable, PublishUnknown, PublishRefused)


def done(attempt):
    return ["paid", None]


def retried(attempt):
    return Retry(5) if attempt == 1 else "paid"


def failed(attempt):
    return Fail("no such order")


class Scene:
    """Sender and workers on an engine that meets one fault."""

    def __init__(self, engine, clock, plan, *, body, dies) -> None:
        self.engine, self.clock, self.dies = engine, clock, dies
        self.faulty = Faulty(engine, plan)
        options = {"keys": ["n"], "replay_failures": "permanent"}
        self.app = Reliq("shop", broker="memory://", middleware=[Idempotency()], max_crashes=9)
        self.ran: list[int] = []

        def work(n: int) -> Any:
            self.ran.append(current().fence)
            return body(current().attempt)

        self.work = self.app.task(name="work", idempotency=options)(work)

    def play(self) -> tuple[Any, ...]:
        """Send, work, send again, work, replay where there is a dead letter; what there is in the end."""
        undo = self.app.use_engine(self.faulty, self.clock)
        self.runner = Runner(self.app)
        try:
            first = persistently(lambda: self.work.delay(1))
            joined = persistently(lambda: self.work.delay(1))
            self.work_off()
            again = persistently(lambda: self.work.delay(1))
            ended = persistently(again.record)
            value = ended.value
        finally:
            undo()
        messages = self.engine.list()
        kept = [(v.holder, v.expires is not None) for _, v in sorted(records(self.engine, "idem:"))]
        assert first.id == joined.id == again.id, "a second message was made"
        assert [m.id for m in messages] == [first.id], "a second message was accepted"
        assert kept == [(first.id, True)], "the record is not complete, or not there"
        assert ended.state == messages[0].state
        return ended.state, value, messages[0].reason

    def work_off(self) -> None:
        """Workers, one after the other, until all has ended; where one `dies`, it does so at the fault."""
        for _ in range(50):
            owner = new_id()
            held: list[Any] = []
            try:
                self.work_one(owner, held)
            except AWAY:
                assert self.dies
                persistently(lambda owner=owner, held=held: self.faulty.bury(owner, started=held))
            if all(m.state in ENDED for m in self.engine.list()):
                return
            self.clock.advance(70)
        raise AssertionError("it never ended")

    def work_one(self, owner: str, held: list[Any]) -> None:
        again = (lambda call: call()) if self.dies else persistently
        again(lambda: self.faulty.register(owner, 1e6))
        for delivery in again(lambda: self.faulty.claim(owner, ["default"], limit=1, seq=1)).deliveries:
            held.append(delivery.receipt)
            job = self.runner.open(delivery)
            assert isinstance(job, Job)
            self.clock.advance(2)  # held up since its claim, so that it looks on every engine
            settlement = self.runner.run(job)
            answer = again(lambda s=settlement: self.faulty.settle([s]))[0]
            assert answer.status in ("applied", "repeated")
        again(lambda: self.faulty.bury(owner, started=[]))


def persistently(call: Callable[[], Any]) -> Any:
    for _ in range(5):
        try:
            return call()
        except GuardRefused:
            raise
        except AWAY:
            continue
    raise AssertionError("the fault did not pass")


def never(number: int, name: str) -> None:
    return None


@pytest.mark.parametrize("dies", [False, True], ids=["asks-again", "dies"])
@pytest.mark.parametrize("body", [done, retried, failed], ids=lambda body: body.__name__)
def test_a_fault_at_any_operation_changes_nothing_in_the_end(engine, clock, body, dies):
    without = Scene(engine, clock, never, body=body, dies=dies)
    expected = without.play()
    operations = [name for name, _ in without.faulty.log]
    assert {"publish", "claim", "store_get", "settle"} <= set(operations)
    for number in range(1, len(operations) + 1):
        for fault in ("before", "after"):
            for record in engine.list():
                engine.remove(record.id)
            for key, _ in sorted(records(engine, "")):
                engine.store_drop(key)
            scene = Scene(engine, clock, at(number, fault), body=body, dies=dies)
            assert scene.play() == expected, f"{fault} operation {number}, {operations[number - 1]}"
            assert scene.faulty.faults == 1
            if not dies:
                assert len(scene.ran) == len(without.ran), "it ran again though nobody had died"
