"""A random walk of calls, runs, endings and deaths through QueueOnce, on several brokers at once.

Every world is an app of its own on a broker of its own; all are told the same and must stay the same, step by step.  An
account kept beside them knows by the words of the documentation, not by the code, what must hold:

1. a call is accepted beside another of its key only where the mode or a lapse allows it, and at most N of a key run
2. when all has ended no slot is left, and no lock but one that is meant to outlive its message
3. what a stranger or a stale settlement does changes nothing
4. whatever has ended holds nothing
5. the last call of `rerun` and `debounce` runs; a debounced one is due when it should be
8. the worlds agree
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from reliq import Drop, Fail, Reliq, Retry, Snooze
from reliq.context import _current
from reliq.errors import GuardRefused
from reliq.ports.values import LIVE
from reliq.testing import VirtualClock
from reliq.worker.runner import Runner
from reliq_once import AlreadyQueued, QueueOnce, starting
from reliq_once.ticket import ticket_of

TTL = 100  # seconds
DELAY, MOST = 10, 25
MODES: dict[str, dict[str, Any]] = {
    "done": {},
    "join": {"on_conflict": "join"},
    "drop": {"graceful": True},
    "start": {"until": "start"},
    "relock": {"until": "start", "relock_on_retry": True},
    "expiry": {"until": "expiry"},
    "hold": {"hold_on_failure": True},
    "replace": {"on_conflict": "replace"},
    "debounce": {"debounce": (DELAY, MOST)},
    "rerun": {"on_conflict": "rerun"},
    "two": {"while_running": 2},
    "one": {"while_running": 1, "on_busy": "drop"},
}
NEWEST = ("replace", "debounce", "rerun")
OUTLIVES = ("expiry", "hold")
SLOTS = {"rerun": 1, "two": 2, "one": 1}
WEIGHTS = {
    "call": 8,
    "begin": 6,
    "finish": 4,
    "wait": 4,
    "die": 2,
    "replay": 2,
    "cancel": 1,
    "late": 1,
    "reap": 1,
}
KINDS = [kind for kind, weight in WEIGHTS.items() for _ in range(weight)]
VERDICTS = {
    "done": None,
    "drop": Drop("said so"),
    "fail": Fail("said so"),
    "retry": Retry(5),
    "late": Retry(3 * TTL),
    "snooze": Snooze(7),
}


class World:
    """An app on a broker, with workers of one run each."""

    def __init__(self, engine: Any, clock: VirtualClock) -> None:
        self.engine = engine
        self.app = Reliq("walk", broker="memory://", max_snooze=1e9)
        self.app.use_engine(engine, clock)
        for mode, once in MODES.items():
            options = {"keys": ["k"], "timeout": TTL, **once}
            self.app.task(name=mode, base=QueueOnce, once=options, max_retries=None)(lambda k, n: None)
        self.runner = Runner(self.app)
        self.runs: dict[str, tuple[Any, str]] = {}  # message -> its job and its worker
        self.sent: list[Any] = []  # settlements, for those that are sent again much later

    def call(self, mode: str, key: int, id: str, inside: str | None) -> tuple[Any, ...]:
        token = _current.set(self.runs[inside][0].ctx) if inside else None
        try:
            handle = self.app.tasks[mode].apply_async((key, id), task_id=id)
        except AlreadyQueued as error:
            return ("refused", error.existing_id, error.state, error.countdown)
        finally:
            if token is not None:
                _current.reset(token)
        if handle.rejected:
            return ("rejected", handle.existing_id)
        return ("accepted",) if handle.id == id else ("joined", handle.id)

    def begin(self, owner: str) -> tuple[Any, ...] | None:
        self.engine.register(owner, 1e9)
        claimed = self.engine.claim(owner, ["default"], limit=1, seq=1)
        if not claimed.deliveries:
            return None
        job = self.runner.open(claimed.deliveries[0])
        token = _current.set(job.ctx)
        try:
            early, job.entered = job.task.chain.enter(job.ctx)
        finally:
            _current.reset(token)
        if early is not None:
            self._settle(self.runner._conclude(job, None, early, False))
            return (job.ctx.id, repr(early))
        self.runs[job.ctx.id] = (job, owner)
        return (job.ctx.id, None)

    def finish(self, id: str, verdict: Any) -> str:
        job, _ = self.runs.pop(id)
        return self._settle(self.runner._conclude(job, verdict, None))

    def _settle(self, settlement: Any) -> str:
        self.sent.append(settlement)
        return self.engine.settle([settlement])[0].status

    def die(self, id: str) -> None:
        job, owner = self.runs.pop(id)
        self.engine.bury(owner, started=[job.delivery.receipt])

    def replay(self, id: str) -> Any:
        try:
            return self.engine.replay(id)
        except GuardRefused as refused:
            return refused.found.value.holder

    def held(self) -> list[tuple[str, Any]]:
        return [item for prefix in ("once:", "once-slot:") for item in self.engine.store_scan(prefix)]

    def seen(self, ids: list[str]) -> Any:
        records = {}
        for id in ids:
            r = self.engine.get(id)
            records[id] = r and (r.state, r.reason, r.due, r.attempt, r.retries, r.snoozes, r.crashes, r.life)
        return records, self.engine.store_scan("once")


@dataclass
class Account:
    """What the documentation says about one message."""

    mode: str
    key: int
    deadline: int  # its lock lapses then, if it waits
    first: int
    right: bool = True  # it holds its key until it ends or lapses
    started: bool = False
    rerun: bool = False  # published by the run that held its key
    replayed: bool = False
    cancelled: bool = False

    @property
    def newest(self) -> bool:
        return self.mode in NEWEST or self.rerun


class OnceWalk(RuleBasedStateMachine):
    """A subclass says in `open` on which brokers."""

    def open(self, clock: VirtualClock) -> list[Any]:
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        starting.random = SimpleNamespace(uniform=lambda low, high: 1.0)  # type: ignore[attr-defined]
        self.clock = VirtualClock()
        self.worlds = [World(engine, self.clock) for engine in self.open(self.clock)]
        self.book: dict[str, Account] = {}
        self.numbers = itertools.count()
        self.modes: list[str] = []
        self.broken = False

    # --- telling all the same ---

    def all(self, call: Any) -> Any:
        self.broken = True
        answers = [call(world) for world in self.worlds]
        for world, answer in zip(self.worlds, answers, strict=True):
            assert answer == answers[0], (
                f"{world.engine.capabilities.name}: {answer}, the first: {answers[0]}"
            )
        self.broken = False
        return answers[0]

    def state(self, id: str) -> str:
        return str(self.worlds[0].engine.get(id).state)

    def alive(self, mode: str, key: int) -> dict[str, Account]:
        return {
            id: a for id, a in self.book.items() if (a.mode, a.key) == (mode, key) and self.state(id) in LIVE
        }

    def in_the_way(self, mode: str, key: int) -> list[str]:
        """Who holds the key by right, by the account."""
        now = self.clock.now_ms()
        found = [
            id
            for id, a in self.alive(mode, key).items()
            if a.right and (self.state(id) == "leased" or now < a.deadline)
        ]
        ended = [
            id
            for id, a in self.book.items()
            if (a.mode, a.key) == (mode, key) and mode in OUTLIVES and a.right and now < a.deadline
        ]
        return [*found, *(id for id in ended if id not in found)]

    # --- rules ---

    @initialize(modes=st.lists(st.sampled_from(list(MODES)), min_size=1, max_size=2, unique=True))
    def choose(self, modes: list[str]) -> None:
        """A walk is about one mode or two, so that calls meet."""
        self.modes = modes

    @rule(
        kind=st.sampled_from(KINDS),
        pick=st.integers(0, 9),
        key=st.sampled_from([0, 0, 0, 1]),
        flag=st.sampled_from([False, False, True]),
        verdict=st.sampled_from(list(VERDICTS)),
        seconds=st.sampled_from([0.5, 3, 3, 10, 10, 30, TTL, 4 * TTL]),
    )
    def step(self, kind: str, pick: int, key: int, flag: bool, verdict: str, seconds: float) -> None:
        """One rule, so that every walk takes all kinds of steps, and by weight."""
        runs = bool(self.worlds[0].runs)
        if kind == "call":
            self.call(pick, key, inside=pick > 5, twice=flag)
        elif kind == "begin" or (kind in ("finish", "die") and not runs):
            self.begin()
        elif kind == "finish":
            self.finish(pick, verdict)
        elif kind == "die":
            self.die(pick)
        elif kind == "cancel" and self.book:
            self.cancel(pick)
        elif kind == "replay" and any(self.state(id) == "failed" for id in self.book):
            self.replay(pick)
        elif kind == "late" and self.worlds[0].sent:
            self.come_late(pick)
        elif kind == "reap":
            self.reap()
        else:
            self.wait(seconds)

    def call(self, which: int, key: int, inside: bool, twice: bool) -> None:
        mode = self.modes[which % len(self.modes)]
        id = f"m{next(self.numbers)}"
        runs = [r for r in self.worlds[0].runs if (self.book[r].mode, self.book[r].key) == (mode, key)]
        outer = runs[0] if inside and runs else None
        before = self.in_the_way(mode, key)
        states = {other: self.state(other) for other in before}
        waiting = [o for o in before if states[o] in ("ready", "due")]
        now = self.clock.now_ms()
        answer = self.all(lambda w: w.call(mode, key, id, outer))
        if twice and answer[0] == "accepted":  # the reply was lost, so the same id is published again
            assert self.all(lambda w: w.call(mode, key, id, outer)) == ("accepted",)
        if answer[0] != "accepted":
            assert answer[1] in before, f"{answer} though {before} hold the key"
            assert answer[0] == {"join": "joined", "drop": "rejected"}.get(mode, "refused")
            return
        # Inside a run that holds its key until its end, the call is to run after it.
        hands_over = outer is not None and mode in ("done", "hold")
        account = Account(mode, key, 0, now, rerun=hands_over)
        if account.newest:
            assert mode != "replace" or not [o for o in before if states[o] == "leased"]
            for other in waiting:
                reason = f"replaced by the newer call {id}"
                record = self.worlds[0].engine.get(other)
                assert record.reason == reason, (
                    f"1: {record.id} should be replaced, by {self.book[other]}: {record}"
                )
            for other in before:
                self.book[other].right = False
        else:
            assert not before, f"1: accepted beside {before}"
        if mode == "debounce":
            fresh = [self.book[o].first for o in before if not self.book[o].started]
            account.first = min([now, *fresh])
            due = max(now, min(now + DELAY * 1000, account.first + MOST * 1000))
            assert self.worlds[0].engine.get(id).due == due, "5: due at another time"
        account.deadline = max(now, self.worlds[0].engine.get(id).due) + TTL * 1000
        self.book[id] = account

    def begin(self) -> None:
        owner = f"w{next(self.numbers)}"
        found = self.all(lambda w: w.begin(owner))
        if found is None:
            return
        id, early = found
        account = self.book[id]
        if early is not None:
            if "superseded" in early:
                newer = early.rpartition("call ")[2].rstrip("')")
                assert account.newest and int(newer[1:]) > int(id[1:]), "5: superseded by an older one"
                account.right = False
            elif "Snooze" in early and account.right:
                account.deadline = self.worlds[0].engine.get(id).due + TTL * 1000
            elif "Drop" in early:
                account.right = False
            return
        account.started = True
        if account.mode in ("start", "relock", "two", "one") and not account.rerun:
            account.right = False
        elif account.newest and account.mode != "replace":
            holder = self.holder(id)
            account.right = holder == id
            account.deadline = self.clock.now_ms() + TTL * 1000
        elif self.holder(id) == id:
            account.right = True
            late = self.clock.now_ms() >= account.deadline or self.worlds[0].engine.get(id).crashes
            account.deadline = self.clock.now_ms() + TTL * 1000 if late else account.deadline
        else:
            account.right = False

    def holder(self, id: str) -> str | None:
        job, _ = self.worlds[0].runs[id]
        ticket = ticket_of(job.ctx.headers)
        value = self.worlds[0].engine.store_get(ticket.key)  # type: ignore[union-attr]
        return None if value is None else value.holder

    def finish(self, pick: int, verdict: str) -> None:
        runs = list(self.worlds[0].runs)
        id = runs[pick % len(runs)]
        account = self.book[id]
        answer = self.all(lambda w: w.finish(id, VERDICTS[verdict]))
        assert answer == "applied"
        state, due = self.state(id), self.worlds[0].engine.get(id).due
        if state in LIVE:
            assert self.mine(id) or not account.right, "1: its lock is lost while it waits"
            account.right = self.mine(id)
            if account.right:
                account.deadline = due + TTL * 1000
        elif account.mode == "hold" and state == "failed":
            account.right = self.mine(id)
            account.deadline = self.clock.now_ms() + TTL * 1000
        elif account.mode != "expiry":
            account.right = False

    def mine(self, id: str) -> bool:
        return any(value.holder == id for _, value in self.worlds[0].engine.store_scan("once:"))

    def die(self, pick: int) -> None:
        runs = list(self.worlds[0].runs)
        id = runs[pick % len(runs)]
        self.all(lambda w: w.die(id))
        self.ended(id)

    def cancel(self, pick: int) -> None:
        live = [id for id in self.book if self.state(id) in LIVE]
        if live:
            id = live[-1 - pick % len(live)]
            self.all(lambda w: w.engine.cancel(id))
            self.book[id].cancelled = True
            self.ended(id)

    def ended(self, id: str) -> None:
        account = self.book[id]
        if self.state(id) not in LIVE and account.mode != "expiry":
            account.right = account.mode == "hold" and self.state(id) == "failed" and self.mine(id)
            account.deadline = self.clock.now_ms() + TTL * 1000 if account.right else account.deadline

    def replay(self, pick: int) -> None:
        dead = [id for id in self.book if self.state(id) == "failed"]
        id = dead[pick % len(dead)]
        account = self.book[id]
        before = [other for other in self.in_the_way(account.mode, account.key) if other != id]
        answer = self.all(lambda w: w.replay(id))
        if answer is not True:
            assert answer in before, f"1: {answer} does not hold the key"
            return
        assert not before, f"1: replayed beside {before}"
        account.right = account.replayed = True
        account.deadline = self.clock.now_ms() + TTL * 1000

    def come_late(self, pick: int) -> None:
        """A settlement that was sent long ago arrives again, and a stranger lets go of what is not his."""
        before = [w.seen(list(self.book)) for w in self.worlds]

        def late(w: World) -> bool:
            settlement = w.sent[pick % len(w.sent)]
            stale = w.engine.settle([settlement])[0].status in ("stale", "repeated")
            drops = [w.engine.store_drop(key, holder="a stranger") for key, _ in w.held()]
            return stale and not any(drops)

        assert self.all(late), "3: what came late counted"
        assert [w.seen(list(self.book)) for w in self.worlds] == before, "3: what came late changed something"

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def reap(self) -> None:
        self.all(lambda w: w.engine.reap(grace=1e9) and None)

    # --- what always holds ---

    @invariant()
    def the_worlds_agree(self) -> None:
        self.all(lambda w: w.seen(list(self.book)))

    @invariant()
    def what_ended_holds_nothing(self) -> None:
        for key, value in self.worlds[0].held():
            account = self.book[value.holder]
            state = self.state(value.holder)
            meant = account.mode == "expiry" or (account.mode == "hold" and state == "failed")
            assert state in LIVE or meant, f"4: {value.holder} is {state} and holds {key}"
            assert not key.startswith("once-slot:") or state == "leased", "2: a slot of one that does not run"

    @invariant()
    def so_many_run_and_no_more(self) -> None:
        runs = [self.book[id] for id in self.worlds[0].runs]
        for mode, most in SLOTS.items():
            for key in (0, 1):
                assert sum((a.mode, a.key) == (mode, key) for a in runs) <= most, "1: too many run"

    def teardown(self) -> None:
        try:
            if not self.broken:
                self.all_ends()
        finally:
            for world in self.worlds:
                world.engine.close()

    def all_ends(self) -> None:
        for id in list(self.worlds[0].runs):
            self.finish_done(id)
        for _ in range(2_000):
            owner = f"w{next(self.numbers)}"
            found = self.all(lambda w, owner=owner: w.begin(owner))
            if found is not None:
                if found[1] is None:
                    self.book[found[0]].started = True
                    self.finish_done(found[0])
            elif any(self.state(id) in LIVE for id in self.book):
                self.clock.advance(5)
            else:
                break
        assert not [id for id in self.book if self.state(id) in LIVE], "2: not all ended"
        self.the_worlds_agree()
        self.what_ended_holds_nothing()
        for mode in ("rerun", "debounce"):
            for key in (0, 1):
                mine = [(id, a) for id, a in self.book.items() if (a.mode, a.key) == (mode, key)]
                if mine and not mine[-1][1].cancelled and not any(a.replayed for _, a in mine):
                    assert mine[-1][1].started, (
                        f"5: the last call did not run: {self.worlds[0].engine.get(mine[-1][0])}"
                    )
        self.clock.advance(4 * TTL)  # what was cancelled while it waited for its retry keeps its expiry
        assert [w.held() for w in self.worlds] == [[] for _ in self.worlds], "2: something is left"

    def finish_done(self, id: str) -> None:
        self.all(lambda w: w.finish(id, None))
