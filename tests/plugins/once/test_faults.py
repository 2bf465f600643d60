"""A fault at every operation of a message's way: lost calls, lost replies, deaths; all converge to the same end."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from reliq.errors import BrokerUnavailable, PublishRefused, PublishUnknown
from reliq.testing.faults import Faulty, at
from reliq_once import AlreadyQueued

_NUMBERS = itertools.count()
MODES: dict[str, dict[str, Any]] = {
    "done": {},
    "start": {"until": "start"},
    "join": {"on_conflict": "join"},
    "hold": {"hold_on_failure": True},
    "replace": {"on_conflict": "replace"},
    "debounce": {"debounce": (1, 5)},
    "rerun": {"on_conflict": "rerun"},
    "slots": {"while_running": 2, "relock_on_retry": True},
}


class Died(BaseException):
    """The process is gone."""


class Dying(Faulty):
    """Like an engine whose caller dies at a fault, before or after the operation, and then does nothing any more."""

    dead = False

    def _meet(self, name: str, call: Any) -> Any:
        if self.dead:
            raise Died
        try:
            return super()._meet(name, call)
        except BrokerUnavailable as error:
            if str(error).startswith("by plan"):
                self.dead = True
                raise Died from error
            raise


class Way:
    """Two calls of a key, and a worker that starts again whenever something fails."""

    def __init__(self, bench: Any, once: dict[str, Any]) -> None:
        self.bench = bench
        self.ran: list[str] = []
        self.outcome: dict[str, str] = {}

        def body(name: str) -> None:
            self.ran.append(name)
            if self.ran.count(name) == 1:
                raise ConnectionError

        self.task = bench.task(body, once={"keys": [], **once}, retry_on=(ConnectionError,), max_retries=5)

    def go(self, faulty: Faulty) -> None:
        undo = self.bench.app.use_engine(faulty, self.bench.clock)
        try:
            self.publish("a")
            self.publish("b")
            self.work(faulty)
        finally:
            undo()
        self.work(self.bench.engine)

    def publish(self, name: str) -> None:
        for _ in range(5):
            try:
                handle = self.task.apply_async((name,), task_id=name)
            except AlreadyQueued as error:
                self.outcome[name] = f"refused for {error.existing_id}"
            except (PublishRefused, PublishUnknown):
                continue  # what a caller does: the same id again
            except Died:
                self.outcome[name] = "its publisher died"
                self.bench.app.broker.dead = False  # the next process
            else:
                self.outcome[name] = "accepted" if handle.id == name else f"joined {handle.id}"
            return
        raise AssertionError("it was never accepted")

    def work(self, engine: Any) -> None:
        """Work until nothing waits; a fault is a worker's death, and another takes its place."""
        real, clock, runner = self.bench.engine, self.bench.clock, self.bench.harness.runner
        owner, seq = self.hire(real), 0
        for _ in range(300):
            seq += 1
            held = []
            try:
                found = engine.claim(owner, ["default"], limit=1, seq=seq).deliveries
                held = [d.receipt for d in found]
                for delivery in found:
                    engine.settle([runner.run(runner.open(delivery))])
                if not found and not real.list(states=("ready", "due", "leased")):
                    return
            except (BrokerUnavailable, Died):
                engine.dead = False
                real.bury(owner, started=held)
                owner, seq = self.hire(real), 0
            clock.advance(1)
        raise AssertionError("it never ends")

    def hire(self, engine: Any) -> str:
        owner = f"w{next(_NUMBERS)}"
        engine.register(owner, 1e6)
        return owner

    def check(self, mode: str) -> None:
        engine, bench = self.bench.engine, self.bench
        records = {id: engine.get(id) for id in "ab"}
        live = [r for r in records.values() if r is not None and r.state in ("ready", "due", "leased")]
        assert not live and engine.audit().balanced
        assert (bench.locks(), bench.slots()) == ([], []), self.outcome
        done = [id for id, r in records.items() if r is not None and r.state == "done"]
        for id, outcome in self.outcome.items():
            if outcome == "accepted":
                ended = records[id]
                assert ended is not None
                given_way = str(ended.reason).startswith(("replaced by", "superseded by"))
                assert ended.state == "done" or (given_way and done == ["b"])
        assert done, self.outcome


@pytest.mark.parametrize("mode", MODES)
def test_a_fault_at_any_operation_leaves_no_lock_and_loses_no_call(make_bench, mode, engine, clock):
    """Every operation in turn: not sent, its reply lost, its caller dead before or after it."""
    plain = Faulty(engine, lambda number, name: None)
    way = Way(make_bench(), MODES[mode])
    way.go(plain)
    way.check(mode)
    assert way.outcome["a"] == "accepted" and len(plain.log) > 4
    for number in range(1, len(plain.log) + 1):
        for kind in (Faulty, Dying):
            for fault in ("before", "after"):
                again = make_bench()
                for id in "ab":
                    if engine.get(id) is not None:
                        engine.remove(id)
                clock.advance(90_000)  # the window of chosen ids, and every lock, is over
                engine.reap(grace=1e9)
                way = Way(again, MODES[mode])
                faulty = kind(engine, at(number, fault))
                way.go(faulty)
                assert faulty.faults == 1
                way.check(mode)


def test_a_caller_that_dies_between_the_confirm_and_its_hooks_leaves_the_message_its_lock(bench, clock):
    work = bench.task()
    undo = bench.app.use_engine(Dying(bench.engine, at(1, "after")), clock)
    with pytest.raises(Died):
        work.apply_async(task_id="x")
    undo()
    assert bench.locks() == ["x"]
    with pytest.raises(AlreadyQueued):
        work.delay()
    bench.run()
    assert bench.locks() == [] and bench.engine.get("x").state == "done"


def test_an_unknown_publish_keeps_the_lock_of_the_message_it_may_have_made(bench, clock):
    work = bench.task()
    undo = bench.app.use_engine(Faulty(bench.engine, at(1, "after")), clock)
    with pytest.raises(PublishUnknown) as caught:
        work.delay()
    undo()
    assert bench.locks() == [caught.value.id]
    assert work.apply_async(task_id=caught.value.id).id == caught.value.id
    assert bench.run() == 1 and bench.locks() == []
