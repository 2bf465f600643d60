"""A random walk of sends, runs, deaths, cancels, replays, lost replies and clocks, on several brokers at once.

The same steps are taken on each of them.  After each step they agree, and with `Owed`, which knows only what a sender
was promised.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from reliq import Drop, Fail, Reliq, Retry, Snooze, current
from reliq.errors import GuardRefused
from reliq.ports import records
from reliq.ports.values import LIVE, Delivery, Settlement
from reliq.testing import VirtualClock
from reliq.worker.job import Job
from reliq.worker.runner import Runner
from reliq_idempotency import Idempotency, IdempotencyMismatch
from tests.plugins.repeating import Repeating

TTL = 100.0
TASKS = {"frees": None, "keeps": "all"}  # what becomes of failures
ENDS = {
    "done": lambda value: value,
    "fail": lambda value: Fail("no"),
    "drop": lambda value: Drop("no"),
    "retry": lambda value: Retry(5),
    "snooze": lambda value: Snooze(5),
}
WEIGHTS = {
    "send": 6,
    "work": 5,
    "wait": 3,
    "execute": 2,
    "settle": 2,
    "die": 2,
    "replay": 2,
    "claim": 1,
    "cancel": 1,
    "purge": 1,
}


class Step(NamedTuple):
    """What is done, and all that any of them needs."""

    kind: str
    name: str
    key: str
    payload: int
    delay: int
    end: str
    pick: int  # which of those there are
    executed: bool  # one that has run already
    seconds: float
    losing: bool  # every reply is lost once


def draw(dice: random.Random, steps: int = 50) -> list[Step]:
    kinds = dice.choices(list(WEIGHTS), list(WEIGHTS.values()), k=steps)
    return [
        Step(
            kind,
            dice.choice(list(TASKS)),
            dice.choice("kl"),
            dice.choice((1, 1, 1, 2)),
            dice.choice((0, 0, 0, 300)),
            dice.choice(("done", "done", *ENDS)),
            dice.randrange(50),
            dice.random() < 0.5,
            dice.choice((1, 7, 40, TTL, 350)),
            dice.random() < 0.2,
        )
        for kind in kinds
    ]


class World:
    """The app on one broker, with deliveries in flight."""

    def __init__(self, name: str, clock: VirtualClock) -> None:
        self.name = name
        self.engine = Repeating()
        self.app = Reliq(
            "walk",
            broker="memory://",
            middleware=[Idempotency(ttl=TTL)],
            max_retries=2,
            max_crashes=2,
            max_snooze=1e9,
        )
        self.app.use_engine(self.engine, clock)  # type: ignore[arg-type]
        self.tasks = {name: self.task(name, failures) for name, failures in TASKS.items()}
        self.runner = Runner(self.app)
        self.begin_anew(None)

    def begin_anew(self, engine: Any) -> None:
        """On an empty broker."""
        self.engine.engine, self.engine.losing = engine, False
        self.outcome: Any = None
        self.ran: list[tuple[str, int]] = []  # id and fence of each run of the task's body
        self.owners = 0
        self.flight: list[Flight] = []

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
        self.engine.register(owner, 1e9)
        claimed = self.engine.claim(owner, ["default"], limit=1, seq=1)
        self.flight += [Flight(delivery) for delivery in claimed.deliveries]
        return [(d.receipt.id, d.attempt) for d in claimed.deliveries]

    def execute(self, number: int, outcome: Any) -> Any:
        flight = self.flight[number]
        self.outcome = outcome
        before = len(self.ran)
        job = self.runner.open(flight.delivery)
        assert isinstance(job, Job)
        flight.settlement = self.runner.run(job)
        flight.ran = len(self.ran) > before
        return flight.settlement.kind, flight.settlement.value, flight.settlement.reason, flight.ran

    def settle(self, number: int) -> list[str]:
        settlement = self.flight[number].settlement
        return [self.engine.settle([settlement])[0].status for _ in range(2)]  # the first reply was lost

    def bury(self, number: int) -> Any:
        receipt = self.flight[number].delivery.receipt
        ended = self.engine.bury(receipt.owner, started=[receipt])
        return [(moved.id, moved.state, moved.reason) for moved in ended.moved]

    def replay(self, id: str) -> Any:
        try:
            return self.engine.replay(id)
        except GuardRefused:
            return "refused"

    def records(self) -> list[tuple[str, Any]]:
        found = sorted(records(self.engine, "idem:"))
        return [(key, (v.data, v.version, v.expires, v.holder)) for key, v in found]

    def states(self, ids: Sequence[str]) -> dict[str, Any]:
        return {id: (r.state, r.reason) for id, r in zip(ids, map(self.engine.get, ids), strict=True)}


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


class IdempotencyWalk:
    """`take(steps)` takes a walk on empty brokers, from its first step to the end of all its messages.

    tally  what came about in all walks
    """

    def __init__(self, worlds: Sequence[World], clock: VirtualClock) -> None:
        self.worlds = worlds
        self.world = worlds[0]
        self.clock = clock
        self.tally: Counter[str] = Counter()

    def take(self, engines: Sequence[Any], steps: Sequence[Step]) -> None:
        for world, engine in zip(self.worlds, engines, strict=True):
            world.begin_anew(engine)
        self.owed = Owed()
        self.watched: set[str] = set()  # what may still change: looked at after each step
        self.values = 0
        for step in steps:
            twice = step.kind in ("settle", "work")  # by themselves
            for world in self.worlds:
                world.engine.losing = step.losing and not twice
            getattr(self, step.kind)(step)
            self.look()
        self.all_ends()

    def all(self, call: Any) -> Any:
        answers = [call(world) for world in self.worlds]
        for world, answer in zip(self.worlds, answers, strict=True):
            assert repr(answer) == repr(answers[0]), (
                f"{world.name}: {answer}, {self.world.name}: {answers[0]}"
            )
        return answers[0]

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

    # --- senders ---

    def send(self, step: Step) -> None:
        name, key, payload = step.name, step.key, step.payload
        id = f"m{len(self.owed.messages):03}-{self.clock.now_ms()}-{self.values}"
        busy = self.busy(name, key)
        answer = self.all(lambda world: world.send(name, key, payload, id, step.delay))
        self.tally[answer[0]] += 1
        if busy is None:
            assert answer == ("waits", id), f"a free key gave {answer}"
            message = Message(id, name, key, payload)
            self.owed.messages[id] = self.owed.holder[name, key] = message
            self.watched.add(id)
            return
        holder, state = busy
        if holder.payload != payload:
            assert answer == ("mismatch", holder.id)
        elif state in LIVE:
            assert answer == ("waits", holder.id)
            self.tally["joined"] += 1
        elif state == "done":
            _, value = self.owed.completions[name, key][-1]
            assert answer == ("ended", holder.id, value), f"not the accepted result {value!r}: {answer}"
        else:
            assert answer[:2] == ("ended", holder.id) and "TaskFailed" in answer[2]

    def cancel(self, step: Step) -> None:
        if self.owed.messages:
            id = list(self.owed.messages)[step.pick % len(self.owed.messages)]
            self.all(lambda world: world.engine.cancel(id).status)

    def purge(self, step: Step) -> None:
        self.all(lambda world: world.engine.purge("default"))

    def replay(self, step: Step) -> None:
        """Of a dead letter, where there is one."""
        if not self.owed.messages:
            return
        failed = [id for id in self.owed.messages if self.world.engine.get(id).state == "failed"]
        ids = failed or list(self.owed.messages)
        message = self.owed.messages[ids[step.pick % len(ids)]]
        busy = self.busy(message.name, message.key)
        expected: Any = False
        if failed:
            expected = True if busy is None or busy[0].id == message.id else "refused"
        assert self.all(lambda world: world.replay(message.id)) == expected
        self.tally[f"replay: {expected}"] += 1
        if expected is True:
            self.owed.holder[message.name, message.key] = message
            self.watched.add(message.id)

    # --- workers ---

    def claim(self, step: Step) -> None:
        self.all(World.claim)

    def work(self, step: Step) -> None:
        """One message, from its claim to its settlement, as nearly always."""
        before = len(self.world.flight)
        self.claim(step)
        if len(self.world.flight) > before:
            self.run(before, step.end)
            self.settle_one(before)

    def picked(self, pick: int, *, executed: bool) -> int | None:
        """A delivery in flight; one that was settled before only where there is no other."""
        fit = [n for n, f in enumerate(self.world.flight) if (f.settlement is not None) is executed]
        fit = [n for n in fit if not self.world.flight[n].over] or fit
        return fit[pick % len(fit)] if fit else None

    def execute(self, step: Step) -> None:
        self.claim(step)
        number = self.picked(step.pick, executed=False)
        if number is not None:
            self.run(number, step.end)

    def run(self, number: int, end: str) -> None:
        self.values += 1
        flight = self.world.flight[number]
        receipt = flight.delivery.receipt
        record = self.world.engine.get(receipt.id)
        answers = [world.execute(number, ENDS[end](self.values)) for world in self.worlds]
        # One that has lost its message looks, or begins unseen where its engine says that a look just after the claim
        # is not worth a call: its settlement is refused anyhow.
        if record.state == "leased" and record.fence == receipt.fence:
            assert flight.ran, "a run that holds its message was kept from its work"
            assert len(set(map(repr, answers))) == 1, f"the engines answer {answers}"
        self.tally["ran" if flight.ran else "was kept from running"] += 1

    def settle(self, step: Step) -> None:
        number = self.picked(step.pick, executed=True)
        if number is not None:
            self.settle_one(number)

    def settle_one(self, number: int) -> None:
        flight = self.world.flight[number]
        message = self.owed.messages[flight.delivery.receipt.id]
        flight.over = True
        before = self.world.records()
        answers = self.all(lambda world: world.settle(number))
        self.tally[answers[0]] += 1
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

    def die(self, step: Step) -> None:
        number = self.picked(step.pick, executed=step.executed)
        if number is not None:
            self.all(lambda world: world.bury(number))

    def wait(self, step: Step) -> None:
        self.clock.advance(step.seconds)
        self.all(lambda world: [(m.id, m.state) for m in world.engine.reap().moved])

    # --- what always holds ---

    def look(self) -> None:
        """After a step.  What has ended does not change by itself: that it did not is seen at the walk's end."""
        records = self.all(World.records)
        for id, (state, reason) in self.all(lambda world: world.states(sorted(self.watched))).items():
            if state not in LIVE:
                self.watched.discard(id)
                self.tally[" ".join([state, *(reason or "").split()[:1]])] += 1
        in_progress = {holder for _, (_, _, expires, holder) in records if expires is None}
        assert in_progress == self.watched, "a record in progress names a live message, and each has one"

    def all_ends(self) -> None:
        for world in self.worlds:
            world.engine.losing = False
        for number, flight in enumerate(self.world.flight):
            if not flight.over:
                self.all(lambda world, number=number: world.bury(number))
        for _ in range(1_000):
            before = len(self.world.flight)
            self.all(World.claim)
            if len(self.world.flight) > before:
                self.run(before, "done")
                self.settle_one(before)
            self.look()
            if not self.watched:
                break
            if len(self.world.flight) == before:
                due = min(self.world.engine.get(id).due for id in self.watched)
                self.clock.advance(max(1, due - self.clock.now_ms()) / 1000)
        assert not self.watched, "not all ended"
        self.all(lambda world: world.states(list(self.owed.messages)))
        self.clock.advance(TTL)
        assert self.all(World.records) == [], "a record is left when its time is over"
