"""A random walk: the model and the memory, SQLite and Redis engines are told the same and must stay the same.

After each step their answers, records, stories, owners, depths, store and books are compared, and the invariants I1
to I4 and I11 checked.  Any call may be made twice (its reply was lost), a process may die at any point, the SQLite file
may be closed and opened again, the scripts may be forgotten by the Redis server, and the clock may jump.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from drawing import FOLLOWERS, IDS, QUEUES, publications, steps
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from reliq.errors import GuardRefused
from reliq.policy.clock import VirtualClock
from reliq.ports import records
from reliq.ports.values import LIVE, Claimed, Publication, Receipt, Settlement
from reliq.testing.contracts.model import Model
from reliq.testing.servers import RedisServer
from reliq.wire.message import Add, Effect

LEASE = 5.0


class Walk(RuleBasedStateMachine):
    """Every step makes one call of all."""

    server: RedisServer  # set by the fixture below

    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock()
        self.folder = tempfile.TemporaryDirectory()
        self.model = Model(self.clock)
        self.memory = import_module("reliq.engines.memory").connect("memory://", clock=self.clock)
        self.sqlite = self.open()
        self.redis = self.on_redis()
        self.engines = [self.memory, self.sqlite, self.redis]
        self.owners: list[str] = []  # all that ever were
        self.seqs: Counter[str] = Counter()
        self.receipts: list[Receipt] = []  # all that were ever given
        self.accepted: set[str] = set()
        self.applied: set[Receipt] = set()
        self.comparing = False  # stays True when a comparison failed: then the end need not be tried

    def open(self) -> Any:
        url = f"sqlite:///{self.folder.name}/reliq.db?durability=off"
        return import_module("reliq.engines.sqlite").connect(url, clock=self.clock)

    def on_redis(self) -> Any:
        self.server.flush()
        return import_module("reliq.engines.redis").connect(self.server.url, app="walk", clock=self.clock)

    def all(self, call: Callable[[Any], Any], *, twice: bool = False) -> Any:
        """The answer of all; the first of two, when the first reply was lost."""
        answer = self.once(call)
        if twice:
            before = self.seen(self.model)
            self.once(call)
            assert self.seen(self.model) == before, "a call made again changed something"
        return answer

    def once(self, call: Callable[[Any], Any]) -> Any:
        self.comparing = True
        expected = call(self.model)
        for engine in self.engines:
            answer = call(engine)
            if isinstance(answer, Claimed):  # not every engine knows that nobody touched what a message holds
                plain = tuple(replace(delivery, undisturbed=False) for delivery in answer.deliveries)
                answer = replace(answer, deliveries=plain)
            assert answer == expected, f"{engine.capabilities.name} answers {answer}, the model {expected}"
        self.comparing = False
        return expected

    def owner(self, pick: int) -> str:
        """One that lives, or now and then any that ever was."""
        live = list(self.model.owners_by_name)
        if len(live) < 2:
            live.append(self.hire())
        choice = live if pick else self.owners
        return choice[pick % len(choice)]

    def hire(self) -> str:
        self.owners.append(f"owner-{len(self.owners)}")
        self.all(lambda e: e.register(self.owners[-1], LEASE), twice=True)
        return self.owners[-1]

    def receipt(self, pick: int) -> Receipt:
        """Late ones more often: those are still leased."""
        return self.receipts[-1 - min(pick % len(self.receipts), pick % 5)]

    def settlements(self, verdicts: list[tuple[int, dict[str, Any]]]) -> list[Settlement]:
        return (
            [Settlement(self.receipt(pick), **fields) for pick, fields in verdicts] if self.receipts else []
        )

    # --- rules ---

    @initialize(items=st.lists(publications, min_size=2, max_size=4))
    def begin(self, items: list[Publication]) -> None:
        self.hire()
        self.hire()
        self.publish(items, False)

    @rule(step=steps)
    def take(self, step: tuple[str, dict[str, Any]]) -> None:
        name, drawn = step
        getattr(self, name)(**drawn)

    # --- the steps ---

    def publish(self, items: list[Publication], twice: bool) -> None:
        # A refused item may be accepted by the second call, when a later item freed its key; so one at a time then.
        for group in [[item] for item in items] if twice else [items]:
            answers = self.once(lambda e, group=group: e.publish(group))
            if twice and answers[0].status != "refused":
                self.all(lambda e, group=group: e.publish(group), twice=True)
            self.accepted |= {answer.id for answer in answers if answer.status == "accepted"}

    def claim(
        self,
        pick: int,
        names: list[str],
        limit: int,
        back: int,
        verdicts: list[tuple[int, dict[str, Any]]],
        twice: bool,
    ) -> None:
        owner = self.owner(pick)
        self.seqs[owner] += 1
        seq = max(1, self.seqs[owner] - back)
        settlements = self.settlements(verdicts)

        def call(e: Any) -> Claimed:
            claimed: Claimed = e.claim(owner, names, limit=limit, seq=seq, settlements=settlements)
            if not limit:
                return replace(claimed, next_due=None)  # which is not asked for then
            if back:  # a batch that is given again to other queues has no order
                return replace(claimed, deliveries=tuple(sorted(claimed.deliveries, key=repr)))
            return claimed

        claimed = self.all(call, twice=twice)
        self.note(settlements, claimed.settled)
        for delivery in claimed.deliveries:
            assert delivery.receipt.id in {*self.accepted, *FOLLOWERS}, "I2: only published ids run"
            if delivery.receipt not in self.receipts:
                self.receipts.append(delivery.receipt)

    def settle(self, verdicts: list[tuple[int, dict[str, Any]]], twice: bool) -> None:
        settlements = self.settlements(verdicts)
        self.note(settlements, self.all(lambda e: e.settle(settlements), twice=twice))

    def give_back(self, picks: list[int], twice: bool) -> None:
        receipts = [self.receipt(pick) for pick in picks if self.receipts]
        self.all(lambda e: e.give_back(receipts), twice=twice)

    def die(self, pick: int, begun: str, guilty: dict[str, Any] | None, twice: bool) -> None:
        owner = self.owner(pick)
        held = sorted(self.model.held(owner), key=lambda receipt: receipt.id)
        started = {"none": [], "some": held[: len(held) // 2 + 1], "all": held, "unknown": None}[begun]
        settlements = [Settlement(held[-1], **guilty)] if guilty and held else []
        self.all(lambda e: as_set(e.bury(owner, started=started, guilty=settlements)), twice=twice)

    def renew(self, pick: int, twice: bool) -> None:
        owner = self.owner(pick)

        def call(e: Any) -> tuple[bool, set[str]]:
            renewal = e.renew(owner, LEASE)
            return renewal.live, set(renewal.stop)

        self.all(call, twice=twice)

    def reap(self, grace: float, twice: bool) -> None:
        self.all(lambda e: as_set(e.reap(grace=grace)), twice=twice)

    def operate(self, name: str, pick: int, queue: str | None, twice: bool) -> None:
        wanted = {"cancel": ["leased", "leased", "due", "ready"], "replay": ["failed"]}.get(
            name, ["done", "failed"]
        )
        fitting = [entry.record.id for state in wanted for entry in self.model.those(state)]
        id = (fitting + IDS + FOLLOWERS)[pick % max(2 * len(fitting), 3)]
        calls: dict[str, Callable[[Any], Any]] = {
            "cancel": lambda e: e.cancel(id),
            "replay": lambda e: replayed(e, id, queue),
            "remove": lambda e: e.remove(id),
            "forget": lambda e: e.forget(id),
            "purge": lambda e: e.purge(queue or "q"),
        }
        # A purge made again would also drop what the first one's endings published.
        self.all(calls[name], twice=twice and name != "purge")

    def apply(self, key: str, effects: tuple[Effect, ...], add: bool, holder: str | None) -> None:
        checks = [Add(key, ttl=1_000, holder=holder)] if add else []
        self.all(lambda e: e.apply(checks, effects))

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def disturb(self, what: int | None) -> None:
        """The wall clock is set, or the SQLite engine's process ends and another one opens the file."""
        if what is not None:
            self.clock.jump(what)
        else:
            self.sqlite.close()
            self.sqlite = self.engines[1] = self.open()
            self.server.do("SCRIPT", "FLUSH")

    # --- what is compared, and what always holds ---

    def seen(self, engine: Any) -> dict[str, Any]:
        names = [*IDS, *FOLLOWERS]
        return {
            "records": {id: engine.get(id) for id in names},
            "held": {owner: sorted(engine.held(owner), key=repr) for owner in self.owners},
            "owners": sorted(engine.owners(), key=lambda info: info.owner),
            "queues": engine.queues(),
            "depths": [engine.depth(queue) for queue in QUEUES],
            "store": sorted(records(engine, "")),
            "index": engine.index_due("i", before=9),
        }

    @invariant()
    def they_are_the_same(self) -> None:
        self.comparing = True
        expected = self.seen(self.model)
        for engine in self.engines:
            seen = self.seen(engine)
            for part in expected:
                assert seen[part] == expected[part], f"{engine.capabilities.name}: {part}"
        self.comparing = False

    @invariant()
    def the_books_balance(self) -> None:
        """I11; and I3: a live id stands once, and is held once at most."""
        expected = self.model.audit()
        assert expected.balanced
        for engine in self.engines:
            audit = engine.audit()
            assert audit.balanced, audit
            assert (audit.accepted, dict(audit.states)) == (expected.accepted, expected.states)
            listed = [record.id for record in engine.list(limit=1_000)]
            assert listed == [record.id for record in self.model.records()], engine.capabilities.name
            assert len(listed) == len(set(listed))
            held = [receipt.id for owner in self.owners for receipt in engine.held(owner)]
            assert len(held) == len(set(held)) == audit.states["leased"]

    def note(self, settlements: list[Settlement], answers: Any) -> None:
        """I4: of each receipt one settlement is accepted, and no more."""
        for settlement, answer in zip(settlements, answers, strict=False):
            if answer.status == "applied":
                assert settlement.receipt not in self.applied, "I4: settled twice"
                self.applied.add(settlement.receipt)

    def teardown(self) -> None:
        try:
            if not self.comparing:
                self.all_ends()
        finally:
            self.memory.close()
            self.sqlite.close()
            self.redis.close()
            self.folder.cleanup()

    def all_ends(self) -> None:
        """I1: given workers and time, every accepted message ends."""
        worker = "the last one"
        for owner in self.owners:
            self.all(lambda e, owner=owner: as_set(e.bury(owner, started=None)))
        self.all(lambda e: e.register(worker, 1_000_000.0))
        for seq in range(1, 200):
            claimed = self.all(lambda e, seq=seq: e.claim(worker, QUEUES, limit=10, seq=seq))
            settlements = [Settlement(delivery.receipt, "done") for delivery in claimed.deliveries]
            self.all(lambda e, settlements=settlements: e.settle(settlements))
            if not claimed.deliveries:
                if not any(record.state in LIVE for record in self.model.records()):
                    break
                self.clock.advance(10)
        self.they_are_the_same()
        self.the_books_balance()
        states = self.memory.audit().states
        assert all(states[state] == 0 for state in LIVE), f"I1: not all ended: {states}"


def replayed(engine: Any, id: str, queue: str | None) -> Any:
    """The answer, or what was found by the guard that refused."""
    try:
        return engine.replay(id, queue=queue)
    except GuardRefused as refused:
        return refused.guard, refused.found


def as_set(ended: Any) -> Any:
    """Engines may report in any order."""
    return set(ended.moved), set(ended.owners), ended.purged


SHARED = settings(
    deadline=None,
    database=None,
    print_blob=True,
    report_multiple_bugs=False,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
QUICK = settings(SHARED, max_examples=70, stateful_step_count=60, derandomize=True)
FULL = settings(SHARED, max_examples=500, stateful_step_count=100)


@pytest.mark.timeout(600)  # a failure is made small before it is told, which takes up to five minutes
class TestWalk(Walk.TestCase):  # type: ignore[misc]
    settings = QUICK

    @pytest.fixture(autouse=True)
    def beside_redis(self, reliq_redis: RedisServer) -> None:
        Walk.server = reliq_redis


@pytest.mark.full
@pytest.mark.timeout(1_800)
class TestLongWalk(Walk.TestCase):  # type: ignore[misc]
    settings = FULL

    @pytest.fixture(autouse=True)
    def beside_redis(self, reliq_redis: RedisServer) -> None:
        Walk.server = reliq_redis
