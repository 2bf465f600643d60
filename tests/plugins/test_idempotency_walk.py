"""A random walk of sends, runs, deaths, cancels, replays and clocks: every engine beside a plain list of what is owed.

The same steps are taken on the model engine, in memory, on SQLite and, in the long form, on Redis (`WORLDS`).
After each step they agree with each other, and with `Owed`, which knows only what a sender was promised.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from reliq import Drop, Fail, Reliq, Retry, Snooze, current
from reliq.errors import GuardRefused
from reliq.plugins import open_engine
from reliq.ports.values import LIVE, Delivery, Settlement
from reliq.testing import Harness, VirtualClock
from reliq.testing.contracts.model import Model
from reliq.worker.runner import Job
from reliq_idempotency import Idempotency, IdempotencyMismatch

TTL = 100.0
KEYS = ["k", "l"]
TASKS = {"frees": None, "keeps": "all"}  # what becomes of failures
ENDS = {
    "done": lambda value: value,
    "fail": lambda value: Fail("no"),
    "drop": lambda value: Drop("no"),
    "retry": lambda value: Retry(5),
    "snooze": lambda value: Snooze(5),
}

WORLDS = {
    "model": lambda clock, folder: Model(clock),
    "memory": lambda clock, folder: import_module("reliq.engines.memory").connect("memory://", clock=clock),
    "sqlite": lambda clock, folder: import_module("reliq.engines.sqlite").connect(
        f"sqlite:///{folder}/reliq.db?durability=off", clock=clock
    ),
}


_pick = st.integers(0, 50)
#: What each step needs; those named often in `STEPS` are taken often.
NEEDS: dict[str, dict[str, Any]] = {
    "send": {
        "name": st.sampled_from(sorted(TASKS)),
        "key": st.sampled_from(KEYS),
        "payload": st.sampled_from([1, 1, 1, 2]),
        "delay": st.sampled_from([0, 0, 0, 300]),
    },
    "work": {"end": st.sampled_from(["done", "done", *ENDS])},
    "claim": {},
    "execute": {"pick": _pick, "end": st.sampled_from(["done", "done", *ENDS])},
    "settle": {"pick": _pick},
    "die": {"pick": _pick, "executed": st.booleans()},
    "cancel": {"pick": _pick},
    "replay": {"pick": _pick},
    "purge": {},
    "wait": {"seconds": st.sampled_from([1, 7, 40, TTL, 350])},
}
STEPS = (
    ["send"] * 6
    + ["work"] * 5
    + ["wait"] * 3
    + ["execute", "settle", "die", "replay"] * 2
    + ["claim", "cancel", "purge"]
)


class World:
    """The app on one engine, with deliveries in flight."""

    def __init__(self, engine: Any, clock: VirtualClock) -> None:
        self.engine = engine
        self.app = Reliq(
            "walk", broker="memory://", middleware=[Idempotency(ttl=TTL)], max_retries=2, max_crashes=2
        )
        self.harness = Harness(self.app, clock=clock, engine=engine)
        self.harness.__enter__()
        self.outcome: Any = None
        self.ran: list[tuple[str, int]] = []  # id and fence of each run of the task's body
        self.owners = 0
        self.flight: list[Flight] = []
        self.tasks = {name: self.task(name, failures) for name, failures in TASKS.items()}

    def task(self, name: str, failures: str | None) -> Any:
        def body(key: str, payload: int) -> Any:
            self.ran.append((current().id, current().fence))
            return self.outcome

        options = {"keys": ["key"], "replay_failures": failures}
        return self.app.task(name=name, idempotency=options)(body)

    def send(self, name: str, key: str, payload: int, id: str, delay: float) -> Any:
        try:
            handle = self.tasks[name].apply_async((key, payload), task_id=id, countdown=delay or None)
        except IdempotencyMismatch as error:
            return "mismatch", error.existing_id
        if handle.ready():
            value = handle.result
            return "ended", handle.id, repr(value) if isinstance(value, Exception) else value
        return "waits", handle.id

    def claim(self) -> list[Any]:
        """By an owner of its own, so that each run can die by itself."""
        self.owners += 1
        owner = f"owner-{self.owners}"
        self.engine.register(owner, 1e6)
        claimed = self.engine.claim(owner, self.engine.queues(), limit=1, seq=1)
        if not claimed.deliveries:
            self.engine.bury(owner, started=[])
        self.flight += [Flight(delivery) for delivery in claimed.deliveries]
        return [(d.receipt.id, d.attempt) for d in claimed.deliveries]

    def execute(self, pick: int, outcome: Any) -> Any:
        flight = self.flight[pick]
        self.outcome = outcome
        before = len(self.ran)
        job = self.harness.runner.open(flight.delivery)
        assert isinstance(job, Job)
        flight.settlement = self.harness.runner.run(job)
        flight.ran = len(self.ran) > before
        return flight.settlement.kind, flight.settlement.value, flight.settlement.reason, flight.ran

    def settle(self, pick: int) -> Any:
        flight = self.flight[pick]
        answers = [self.engine.settle([flight.settlement])[0] for _ in range(2)]  # the first reply was lost
        return [(answer.status) for answer in answers]

    def bury(self, pick: int) -> Any:
        receipt = self.flight[pick].delivery.receipt
        ended = self.engine.bury(receipt.owner, started=[receipt])
        return [(moved.id, moved.state, moved.reason) for moved in ended.moved]

    def replay(self, id: str) -> Any:
        try:
            return self.engine.replay(id)
        except GuardRefused:
            return "refused"

    def records(self) -> list[tuple[str, Any]]:
        return [
            (key, (v.data, v.version, v.expires, v.holder))
            for key, v in self.engine.store_scan("idem:", limit=100)
        ]


@dataclass
class Flight:
    """A claimed delivery; after it was executed, with what its worker is going to say."""

    delivery: Delivery
    settlement: Settlement | None = None
    ran: bool = False
    over: bool = False


@dataclass
class Message:
    id: str
    name: str
    key: str
    payload: int


@dataclass
class Owed:
    """What was promised: for each key the message that has it, and when which result was accepted for it."""

    holder: dict[tuple[str, str], Message] = field(default_factory=dict)
    completions: dict[tuple[str, str], list[tuple[int, Any]]] = field(default_factory=dict)
    messages: dict[str, Message] = field(default_factory=dict)


class Walk(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.clock = VirtualClock()
        self.folder = tempfile.TemporaryDirectory()
        self.worlds = {
            name: World(make(self.clock, self.folder.name), self.clock) for name, make in WORLDS.items()
        }
        self.world = self.worlds["model"]
        self.owed = Owed()
        self.sent = 0
        self.values = 0

    def all(self, call: Any) -> Any:
        answers = {name: call(world) for name, world in self.worlds.items()}
        assert len({repr(answer) for answer in answers.values()}) == 1, f"the engines answer {answers}"
        return next(iter(answers.values()))

    def busy(self, name: str, key: str) -> tuple[Message, str] | None:
        """The message that has the key, and its state; None when the key is free."""
        holder = self.owed.holder.get((name, key))
        if holder is None:
            return None
        record = self.world.engine.get(holder.id)
        if record.state in LIVE:
            return holder, record.state
        kept = record.state == "done" or (record.state == "failed" and TASKS[name] == "all")
        if kept and self.clock.now_ms() < record.ended + TTL * 1000:
            return holder, record.state
        return None

    @rule(step=st.sampled_from(STEPS), data=st.data())
    def take(self, step: str, data: st.DataObject) -> None:
        """One of the steps below, with what it needs."""
        drawn = {name: data.draw(strategy, label=name) for name, strategy in NEEDS[step].items()}
        getattr(self, step)(**drawn)

    # --- senders ---

    def send(self, name: str, key: str, payload: int, delay: float) -> None:
        self.sent += 1
        id = f"m{self.sent:03}"
        busy = self.busy(name, key)
        answer = self.all(lambda world: world.send(name, key, payload, id, delay))
        if busy is None:
            assert answer == ("waits", id), f"a free key gave {answer}"
            message = Message(id, name, key, payload)
            self.owed.messages[id] = self.owed.holder[name, key] = message
            return
        holder, state = busy
        if holder.payload != payload:
            assert answer == ("mismatch", holder.id)
        elif state in LIVE:
            assert answer == ("waits", holder.id)
        elif state == "done":
            _, value = self.owed.completions[name, key][-1]
            assert answer == ("ended", holder.id, value), f"not the accepted result {value!r}: {answer}"
        else:
            assert answer[:2] == ("ended", holder.id) and "TaskFailed" in answer[2]

    def cancel(self, pick: int) -> None:
        if not self.owed.messages:
            return
        id = sorted(self.owed.messages)[pick % len(self.owed.messages)]
        self.all(lambda world: world.engine.cancel(id).status)

    def purge(self) -> None:
        self.all(lambda world: world.engine.purge("default"))

    def replay(self, pick: int) -> None:
        """Of a dead letter, where there is one."""
        if not self.owed.messages:
            return
        failed = [id for id in sorted(self.owed.messages) if self.world.engine.get(id).state == "failed"]
        id = (
            failed[pick % len(failed)]
            if failed
            else sorted(self.owed.messages)[pick % len(self.owed.messages)]
        )
        message = self.owed.messages[id]
        busy = self.busy(message.name, message.key)
        expected: Any = False
        if failed:
            expected = True if busy is None or busy[0].id == id else "refused"
        assert self.all(lambda world: world.replay(id)) == expected
        if expected is True:
            self.owed.holder[message.name, message.key] = message

    # --- workers ---

    def claim(self) -> None:
        self.all(World.claim)

    def work(self, end: str) -> None:
        """One message, from its claim to its settlement, as nearly always."""
        before = len(self.world.flight)
        self.claim()
        if len(self.world.flight) > before:
            fit = [n for n, f in enumerate(self.world.flight) if f.settlement is None]
            self.run(fit[-1], end)
            self.settle_one(before)

    def picked(self, pick: int, *, executed: bool) -> int | None:
        """A delivery in flight; one that was settled before only where there is no other."""
        fit = [n for n, f in enumerate(self.world.flight) if (f.settlement is not None) is executed]
        fit = [n for n in fit if not self.world.flight[n].over] or fit
        return fit[pick % len(fit)] if fit else None

    def execute(self, pick: int, end: str) -> None:
        self.claim()
        index = self.picked(pick, executed=False)
        if index is not None:
            self.run(index, end)

    def run(self, index: int, end: str) -> None:
        self.values += 1
        before = self.world.flight[index].delivery
        self.all(lambda world: world.execute(index, ENDS[end](self.values)))
        flight = self.world.flight[index]
        record = self.world.engine.get(before.receipt.id)
        current_run = record.state == "leased" and record.fence == before.receipt.fence
        if current_run:
            assert flight.ran, "a run that holds its message was kept from its work"

    def settle(self, pick: int) -> None:
        index = self.picked(pick, executed=True)
        if index is not None:
            self.settle_one(index)

    def settle_one(self, index: int) -> None:
        flight = self.world.flight[index]
        message = self.owed.messages[flight.delivery.receipt.id]
        flight.over = True
        before = self.world.records()
        answers = self.all(lambda world: world.settle(index))
        if answers[0] != "applied":
            assert self.world.records() == before, "a run that lost its message changed a record"
            return
        assert answers == ["applied", "repeated"]
        if flight.settlement is not None and flight.settlement.kind == "done":
            now = self.clock.now_ms()
            done = self.owed.completions.setdefault((message.name, message.key), [])
            assert not done or now >= done[-1][0] + TTL * 1000, "a second completion within the ttl"
            value = None if flight.settlement.value is None else int(flight.settlement.value)
            done.append((now, value))

    def die(self, pick: int, executed: bool) -> None:
        index = self.picked(pick, executed=executed)
        if index is not None:
            self.all(lambda world: world.bury(index))

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.all(lambda world: [(m.id, m.state) for m in world.engine.reap().moved])

    # --- what always holds ---

    @invariant()
    def the_engines_agree(self) -> None:
        if hasattr(self, "worlds"):
            self.all(World.records)
            self.all(
                lambda world: [(r.id, r.state, r.reason) for r in map(world.engine.get, self.owed.messages)]
            )

    @invariant()
    def a_record_in_progress_names_a_live_message_and_a_live_message_has_one(self) -> None:
        if not hasattr(self, "worlds"):
            return
        live = {r.id for r in map(self.world.engine.get, self.owed.messages) if r.state in LIVE}
        in_progress = {holder for _, (_, _, expires, holder) in self.world.records() if expires is None}
        assert in_progress == live

    def teardown(self) -> None:
        if hasattr(self, "worlds"):
            for world in self.worlds.values():
                world.harness.__exit__(None, None, None)
                getattr(world.engine, "close", lambda: None)()
            self.folder.cleanup()


#: A mutant is dead at the first failure; nobody reads its shortest form.
PHASES = (Phase.generate,) if "RELIQ_TEST_MUTANT" in os.environ else tuple(Phase)

CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
TestWalk = Walk.TestCase
TestWalk.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, phases=PHASES, suppress_health_check=CHECKS
)


class WithRedis(Walk):
    """The same walk, with Redis beside the others, and longer."""


@pytest.fixture(scope="class")
def redis_world(reliq_redis):
    def make(clock: VirtualClock, folder: str) -> Any:
        reliq_redis.flush()
        return open_engine(reliq_redis.url, app="walk", clock=clock)

    WORLDS["redis"] = make
    yield
    del WORLDS["redis"]


@pytest.mark.full
@pytest.mark.usefixtures("redis_world")
class TestWalkWithRedis(WithRedis.TestCase):
    settings = settings(
        max_examples=100, stateful_step_count=50, deadline=None, phases=PHASES, suppress_health_check=CHECKS
    )
