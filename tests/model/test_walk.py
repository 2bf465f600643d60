"""A random walk: the model, the memory engine and the SQLite engine are told the same and must stay the same.

After each step their answers, records, stories, owners, depths, store and books are compared, and the invariants I1
to I4 and I11 checked.  Any call may be made twice (its reply was lost), a process may die at any point, the SQLite file
may be closed and opened again, and the clock may jump.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from reliq.errors import GuardRefused
from reliq.policy.clock import VirtualClock
from reliq.ports.values import LIVE, Claimed, Publication, Receipt, Settlement
from reliq.testing.contracts.model import Model
from reliq.wire.message import (
    Absent,
    Add,
    CancelMessage,
    Effect,
    Ending,
    Envelope,
    FollowUp,
    Guard,
    Incr,
    IndexPut,
    IndexRemove,
    NotLeased,
    Put,
    Remove,
    Touch,
)

IDS = ["a", "b", "c", "d", "e", "f"]
FOLLOWERS = ["x", "y", "z"]
KEYS = ["k", "l"]
QUEUES = ["q", "r"]
LEASE = 5.0

# --- what is published and said -----------------------------------------------------------------------------------

ids = st.sampled_from(IDS)
keys = st.sampled_from(KEYS)
queues = st.sampled_from(QUEUES)
ttls = st.sampled_from([None, 0, 1_000, 4_000])
holders = st.sampled_from([None, *IDS[:3]])


def effects(id: st.SearchStrategy[str | None] = holders) -> st.SearchStrategy[tuple[Effect, ...]]:
    one: st.SearchStrategy[Any] = st.one_of(
        st.builds(Put, keys, st.sampled_from([b"", b"7"]), ttls, id, st.booleans()),
        st.builds(Remove, keys, id),
        st.builds(Remove, keys, value=st.just(b"7")),
        st.builds(Touch, keys, ttls, id, st.booleans()),
        st.builds(Incr, keys, st.sampled_from([1, -2]), ttls),
        st.builds(CancelMessage, ids, st.just("replaced")),
        st.builds(IndexPut, st.just("i"), ids, st.integers(0, 3)),
        st.builds(IndexRemove, st.just("i"), ids),
    )
    return st.lists(one, max_size=2).map(tuple)


def follow_ups() -> st.SearchStrategy[tuple[FollowUp, ...]]:
    envelope = st.builds(
        Envelope,
        v=st.just(1),
        id=st.sampled_from(FOLLOWERS),
        task=st.just("after"),
        queue=queues,
        body=st.sampled_from([b"[[],{}]", b'[[1],{"k":2}]']),
        delay=st.sampled_from([None, 1_000]),
        keep=st.just(1_000),
    )
    one = st.builds(FollowUp, envelope, st.sampled_from(["", "result", "id"]))
    return st.lists(one, max_size=1).map(tuple)


def endings(id: str) -> st.SearchStrategy[tuple[Ending, ...]]:
    frees = Ending("any", (Remove("k", holder=id),))
    classes = st.sampled_from(["done", "failed", "dropped", "any"])
    other = st.builds(Ending, classes, effects(st.sampled_from([None, id])), follow_ups())
    return st.lists(st.one_of(st.just(frees), other), max_size=2).map(tuple)


def guards(id: str) -> st.SearchStrategy[tuple[Guard, ...]]:
    one: st.SearchStrategy[Any] = st.one_of(
        st.builds(
            Add,
            keys,
            st.just(b"held"),
            ttls,
            st.sampled_from([None, id]),
            st.booleans(),
            st.booleans(),
            st.sampled_from([None, None, "replaced"]),
            st.booleans(),
        ),
        st.builds(Absent, keys),
        st.builds(NotLeased, ids),
    )
    return st.one_of(st.just(()), st.lists(one, max_size=2).map(tuple))


# One draw each instead of a dozen: plain ones more often than odd ones.
ODDITIES: list[dict[str, Any]] = [
    {},
    {},
    {"keep": 0, "keep_failed": 90_000},
    {"priority": 5, "keep_result": False},
    {"max_crashes": 1},
    {"max_crashes": 2, "chosen": True},
    {"delay": 1_000},
    {"delay": 4_000, "priority": 5},
    {"expires_in": 2_000},
    {"delay": 1_000, "expires_after_due": 1_000},
    {"delay": 4_000, "expires_in": 2_000, "keep": 90_000},
    {"delay": 0, "expires_in": 4_000, "keep": 0},
]


# Strategies are made once: making them costs far more than drawing from them.
ENDINGS = {id: endings(id) for id in IDS}
GUARDS = {id: guards(id) for id in IDS}
REPLAYS = {id: st.just(()) | GUARDS[id] for id in IDS}
SOME_EFFECTS = st.just(()) | effects()


@st.composite
def draw_publication(draw: st.DrawFn) -> Publication:
    id = draw(ids)
    odd = {"keep": 3_000, "keep_failed": 3_000, **draw(st.sampled_from(ODDITIES))}
    on_replay = draw(REPLAYS[id])
    envelope = Envelope(
        v=1, id=id, task="task", queue=draw(queues), on_end=draw(ENDINGS[id]), on_replay=on_replay, **odd
    )
    return Publication(envelope, draw(GUARDS[id]), draw(SOME_EFFECTS))


publications = draw_publication()


VERDICTS: list[dict[str, Any]] = [
    {"kind": "done", "value": b'{"a":null}'},
    {"kind": "done", "reason": "because"},
    {"kind": "failed", "error": b"error", "reason": "because"},
    {"kind": "failed"},
    {"kind": "dropped", "reason": "because"},
    {"kind": "retry"},
    {"kind": "retry", "after": 1_000, "error": b"error"},
    {"kind": "retry", "after": 4_000, "reason": "because"},
    {"kind": "snooze", "after": 1_000},
    {"kind": "snooze", "value": b"1"},
]
said = st.builds(
    lambda verdict, effects, follow_ups: {**verdict, "effects": effects, "follow_ups": follow_ups},
    st.sampled_from(VERDICTS),
    SOME_EFFECTS,
    st.just(()) | follow_ups(),
)
number = st.integers(0, 30)  # picks one of what there is, by its remainder
lost = st.sampled_from([False, False, True])  # the reply was lost, so the call is made again


class Walk(RuleBasedStateMachine):
    """Every rule makes one call of all three."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock()
        self.folder = tempfile.TemporaryDirectory()
        self.model = Model(self.clock)
        self.memory = import_module("reliq.engines.memory").connect("memory://", clock=self.clock)
        self.sqlite = self.open()
        self.owners: list[str] = []  # all that ever were
        self.seqs: Counter[str] = Counter()
        self.receipts: list[Receipt] = []  # all that were ever given
        self.accepted: set[str] = set()
        self.applied: set[Receipt] = set()
        self.comparing = False  # stays True when a comparison failed: then the end need not be tried

    def open(self) -> Any:
        url = f"sqlite:///{self.folder.name}/reliq.db?durability=off"
        return import_module("reliq.engines.sqlite").connect(url, clock=self.clock)

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
        for engine in (self.memory, self.sqlite):
            answer = call(engine)
            assert answer == expected, f"{engine.capabilities.name} answers {answer}, the model {expected}"
        self.comparing = False
        return expected

    def owner(self, pick: int) -> str:
        """One that lives, or now and then any that ever was."""
        live = list(self.model.owners_by_name)
        if not live and len(self.owners) < 20:
            return self.hire()
        return (live if live and pick else self.owners)[pick % len(live if live and pick else self.owners)]

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

    @rule(items=st.lists(publications, min_size=1, max_size=3), twice=lost)
    def publish(self, items: list[Publication], twice: bool) -> None:
        # A refused item may be accepted by the second call, when a later item freed its key; so one at a time then.
        for group in [[item] for item in items] if twice else [items]:
            answers = self.once(lambda e, group=group: e.publish(group))
            if twice and answers[0].status != "refused":
                self.all(lambda e, group=group: e.publish(group), twice=True)
            self.accepted |= {answer.id for answer in answers if answer.status == "accepted"}

    @rule(
        pick=number,
        names=st.permutations(QUEUES),
        count=st.sampled_from([2, 2, 1]),
        limit=st.sampled_from([1, 1, 2, 2, 10, 0]),
        back=st.sampled_from([0, 0, 0, 0, 0, 0, 1, 2]),
        verdicts=st.lists(st.tuples(number, said), max_size=2),
        twice=lost,
    )
    def claim(
        self,
        pick: int,
        names: list[str],
        count: int,
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
            claimed: Claimed = e.claim(owner, names[:count], limit=limit, seq=seq, settlements=settlements)
            return claimed if limit else replace(claimed, next_due=None)  # which is not asked for then

        claimed = self.all(call, twice=twice)
        self.note(settlements, claimed.settled)
        for delivery in claimed.deliveries:
            assert delivery.receipt.id in {*self.accepted, *FOLLOWERS}, "I2: only published ids run"
            if delivery.receipt not in self.receipts:
                self.receipts.append(delivery.receipt)

    @precondition(lambda self: self.receipts)
    @rule(verdicts=st.lists(st.tuples(number, said), min_size=1, max_size=3), twice=lost)
    def settle(self, verdicts: list[tuple[int, dict[str, Any]]], twice: bool) -> None:
        settlements = self.settlements(verdicts)
        self.note(settlements, self.all(lambda e: e.settle(settlements), twice=twice))

    @precondition(lambda self: self.receipts)
    @rule(picks=st.lists(number, min_size=1, max_size=3), twice=lost)
    def give_back(self, picks: list[int], twice: bool) -> None:
        receipts = [self.receipt(pick) for pick in picks]
        self.all(lambda e: e.give_back(receipts), twice=twice)

    @rule(
        pick=number,
        begun=st.sampled_from(["none", "some", "all", "unknown"]),
        guilty=st.none() | st.none() | said,
        twice=lost,
        wait=st.sampled_from([0.0, 0.0, 1.0, 2.0]),
    )
    def die(self, pick: int, begun: str, guilty: dict[str, Any] | None, twice: bool, wait: float) -> None:
        owner = self.owner(pick)
        held = sorted(self.model.held(owner), key=lambda receipt: receipt.id)
        started = {"none": [], "some": held[: len(held) // 2 + 1], "all": held, "unknown": None}[begun]
        settlements = [Settlement(held[-1], **guilty)] if guilty and held else []
        self.all(lambda e: as_set(e.bury(owner, started=started, guilty=settlements)), twice=twice)
        self.clock.advance(wait)  # so that what was charged is ready again, often enough
        self.note(settlements, [])

    @rule(pick=number, twice=lost)
    def renew(self, pick: int, twice: bool) -> None:
        owner = self.owner(pick)

        def call(e: Any) -> tuple[bool, set[str]]:
            renewal = e.renew(owner, LEASE)
            return renewal.live, set(renewal.stop)

        self.all(call, twice=twice)

    @rule(grace=st.sampled_from([0.0, 2.0]), twice=lost)
    def reap(self, grace: float, twice: bool) -> None:
        self.all(lambda e: as_set(e.reap(grace=grace)), twice=twice)

    @rule(
        name=st.sampled_from(["cancel"] * 4 + ["replay"] * 3 + ["remove", "forget", "purge"]),
        pick=number,
        queue=st.none() | queues,
        twice=lost,
    )
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

    @rule(key=keys, effects=effects(), add=st.booleans(), holder=holders)
    def apply(self, key: str, effects: tuple[Effect, ...], add: bool, holder: str | None) -> None:
        checks = [Add(key, ttl=1_000, holder=holder)] if add else []
        self.all(lambda e: e.apply(checks, effects))

    @rule(seconds=st.sampled_from([0.001, 0.5, 1.0, 1.0, 1.0, 3.0, 3.0, 10.0, 70.0]))
    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(what=st.sampled_from([-2, 2, None]))
    def disturb(self, what: int | None) -> None:
        """The wall clock is set, or the SQLite engine's process ends and another one opens the file."""
        if what is not None:
            self.clock.jump(what)
        else:
            self.sqlite.close()
            self.sqlite = self.open()

    # --- what is compared, and what always holds ---

    def seen(self, engine: Any) -> dict[str, Any]:
        names = [*IDS, *FOLLOWERS]
        return {
            "records": {id: engine.get(id) for id in names},
            "held": {owner: sorted(engine.held(owner), key=repr) for owner in self.owners},
            "owners": sorted(engine.owners(), key=lambda info: info.owner),
            "queues": engine.queues(),
            "depths": [engine.depth(queue) for queue in QUEUES],
            "store": engine.store_scan(""),
            "index": engine.index_due("i", before=9),
        }

    @invariant()
    def they_are_the_same(self) -> None:
        self.comparing = True
        expected = self.seen(self.model)
        for engine in (self.memory, self.sqlite):
            seen = self.seen(engine)
            for part in expected:
                assert seen[part] == expected[part], f"{engine.capabilities.name}: {part}"
        self.comparing = False

    @invariant()
    def the_books_balance(self) -> None:
        """I11; and I3: a live id stands once, and is held once at most."""
        expected = self.model.audit()
        assert expected.balanced
        for engine in (self.memory, self.sqlite):
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
QUICK = settings(SHARED, max_examples=80, stateful_step_count=40, derandomize=True)
FULL = settings(SHARED, max_examples=3_000, stateful_step_count=80)


@pytest.mark.timeout(600)  # a failure is made small before it is told, which takes up to five minutes
class TestWalk(Walk.TestCase):  # type: ignore[misc]
    settings = QUICK


@pytest.mark.full
@pytest.mark.timeout(1_800)
class TestLongWalk(Walk.TestCase):  # type: ignore[misc]
    settings = FULL
