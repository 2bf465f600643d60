"""A random walk of calls, runs, endings, deaths and lost replies through QueueOnce, on several brokers at once.

Every world is an app of its own on a broker of its own; all are told the same and must stay the same, step by step.  An
account kept beside them knows by the words of the documentation, not by the code, what must hold:

1. a call is accepted beside another of its key only where the mode or a lapse allows it, and at most N of a key run
2. when all has ended no slot is left, and no lock but one that is meant to outlive its message
3. what a stranger or a stale settlement does changes nothing
4. whatever has ended holds nothing
5. the last call of `rerun` and `debounce` runs; a debounced one is due when it should be
7. all of this where replies are lost, and whoever asked asks again; where workers die before, in and after a run
8. the worlds agree
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from reliq import Drop, Fail, Retry, Snooze
from reliq.ports import records
from reliq.ports.values import LIVE
from reliq.testing import VirtualClock
from tests.plugins.once.worlds import DELAY, MODES, MOST, TTL, World

NEWEST = ("replace", "debounce", "rerun")
OUTLIVES = ("expiry", "hold")
SLOTS = {"rerun": 1, "two": 2, "one": 1}
EXPIRES = 60  # seconds
NEVER = 1 << 62
WEIGHTS = {
    "call": 16,
    "begin": 12,
    "finish": 8,
    "wait": 8,
    "die": 4,
    "replay": 4,
    "leave": 2,
    "cancel": 2,
    "late": 2,
    "reap": 2,
    "purge": 1,
}
VERDICTS = {
    "done": None,
    "drop": Drop("said so"),
    "fail": Fail("said so"),
    "retry": Retry(5),
    "late": Retry(3 * TTL),
    "snooze": Snooze(7),
}


class Step(NamedTuple):
    """One rule for all, so that every walk takes all kinds of steps, and by weight."""

    kind: str
    mode: str
    key: int
    pick: int  # which of those there are
    inside: bool  # the call comes from a run of its key
    expires: bool
    losing: bool  # every reply is lost once
    verdict: str
    seconds: float


def draw(dice: random.Random, steps: int = 50) -> list[Step]:
    """A walk is about one mode or two, so that calls meet."""
    modes = dice.sample(list(MODES), dice.choice((1, 2)))
    kinds = dice.choices(list(WEIGHTS), list(WEIGHTS.values()), k=steps)
    return [
        Step(
            kind,
            dice.choice(modes),
            dice.choice((0, 0, 0, 1)),
            dice.randrange(10),
            dice.random() < 0.4,
            dice.random() < 0.1,
            dice.random() < 0.2,
            dice.choice(list(VERDICTS)),
            dice.choice((0.5, 3, 3, 10, 10, 30, TTL, 4 * TTL)),
        )
        for kind in kinds
    ]


@dataclass
class Account:
    """What the documentation says about one message."""

    mode: str
    key: int
    first: int
    deadline: int = 0  # its lock lapses then, if it waits
    expires: int = 0
    right: bool = True  # it holds its key until it ends or lapses
    started: bool = False
    rerun: bool = False  # published by the run that held its key
    replayed: bool = False
    unwanted: bool = False  # somebody or something other than a newer call ended it

    @property
    def newest(self) -> bool:
        return self.mode in NEWEST or self.rerun


class OnceWalk:
    """`take(steps)` takes a walk on empty brokers, from its first step to the end of all its messages.

    tally  what came about in all walks
    """

    def __init__(self, worlds: Sequence[World], clock: VirtualClock) -> None:
        self.worlds = worlds
        self.clock = clock
        self.tally: Counter[str] = Counter()
        self.begin_anew([])

    def begin_anew(self, engines: Sequence[Any]) -> None:
        for world, engine in zip(self.worlds, engines, strict=False):
            world.begin_anew(engine)
        self.book: dict[str, Account] = {}
        self.watched: set[str] = set()  # what may still change: looked at after each step
        self.numbers = itertools.count()

    def take(self, engines: Sequence[Any], steps: Sequence[Step]) -> None:
        self.begin_anew(engines)
        for step in steps:
            if self.step(step):
                self.look()
        self.all_ends()

    # --- telling all the same ---

    def all(self, call: Any) -> Any:
        answers = [call(world) for world in self.worlds]
        for world, answer in zip(self.worlds, answers, strict=True):
            assert answer == answers[0], f"8: {world.name}: {answer}, {self.worlds[0].name}: {answers[0]}"
        return answers[0]

    def record(self, id: str) -> Any:
        return self.worlds[0].engine.get(id)

    def state(self, id: str) -> str:
        return str(self.record(id).state)

    def in_the_way(self, mode: str, key: int, *, expired: bool = True) -> list[str]:
        """Who holds the key by right, by the account; `expired` with those that wait though their time is over."""
        now = self.clock.now_ms()
        found, ended = [], []
        for id, a in self.book.items():
            if (a.mode, a.key) != (mode, key) or not a.right:
                continue
            state = self.state(id) if id in self.watched else "ended"
            if not expired and mode != "expiry" and state in ("ready", "due") and a.expires <= now:
                continue
            if state == "leased" or (state in LIVE and now < a.deadline):
                found.append(id)
            elif mode in OUTLIVES and now < a.deadline:
                ended.append(id)
        return found + ended

    # --- steps ---

    def step(self, step: Step) -> bool:
        """Whether anything was done; else time has gone by, and what that changes is seen after the next step."""
        kind, runs = step.kind, bool(self.worlds[0].runs)
        for world in self.worlds:
            world.engine.losing = step.losing
        if kind == "call":
            self.call(step)
        elif kind == "begin" or (kind in ("finish", "die") and not runs):
            self.begin()
        elif kind == "finish":
            self.finish(step.pick, step.verdict)
        elif kind == "die":
            self.die(step.pick)
        elif kind == "leave":
            owner = self.owner()
            self.all(lambda w: w.leave(owner))
        elif kind == "cancel":
            self.cancel(step.pick)
        elif kind == "replay" and any(self.state(id) == "failed" for id in self.book):
            self.replay(step.pick)
        elif kind == "late" and self.worlds[0].sent:
            self.come_late(step.pick)
        elif kind == "reap":
            self.all(lambda w: w.engine.reap(grace=1e9) and None)
        elif kind == "purge":
            self.all(lambda w: w.engine.purge("default"))
        else:
            self.clock.advance(step.seconds)
            return False
        return True

    def owner(self) -> str:
        return f"w{next(self.numbers)}"

    def call(self, step: Step) -> None:
        mode, key, now = step.mode, step.key, self.clock.now_ms()
        id = f"m{next(self.numbers)}"
        runs = [r for r in self.worlds[0].runs if (self.book[r].mode, self.book[r].key) == (mode, key)]
        outer = runs[0] if step.inside and runs else None
        # Inside a run that holds its key until its end, the call is to run after it.
        hands_over = outer is not None and mode in ("done", "hold")
        before = self.in_the_way(mode, key, expired=mode in NEWEST or hands_over)
        waiting = [o for o in before if self.state(o) in ("ready", "due")]
        leased = [o for o in before if self.state(o) == "leased"]
        expires = EXPIRES if step.expires else None
        answer = self.all(lambda w: w.call(mode, key, id, outer, expires))
        self.tally[answer[0]] += 1
        if answer[0] != "accepted":
            assert answer[1] in before, f"1: {answer} though {before} hold the key"
            assert answer[0] == {"join": "joined", "drop": "rejected"}.get(mode, "refused")
            return
        account = self.book[id] = Account(mode, key, first=now, rerun=hands_over)
        account.expires = now + EXPIRES * 1000 if step.expires else NEVER
        self.watched.add(id)
        if account.newest:
            assert mode != "replace" or not leased, f"1: accepted beside {leased}"
            self.replaces(id, waiting, before)
        else:
            assert not before, f"1: accepted beside {before}"
        due = self.record(id).due
        if mode == "debounce":
            fresh = [self.book[o].first for o in before if not self.book[o].started]
            account.first = min([now, *fresh])
            latest = min(now + DELAY * 1000, account.first + MOST * 1000)
            assert due == max(now, latest), "5: due at another time"
        account.deadline = max(now, due) + TTL * 1000

    def replaces(self, id: str, waiting: list[str], before: list[str]) -> None:
        for other in waiting:
            self.tally["replaced"] += 1
            reason = self.record(other).reason
            assert reason == f"replaced by the newer call {id}", f"1: {other} should be replaced: {reason}"
        for other in before:
            self.book[other].right = False

    def begin(self) -> tuple[Any, ...] | None:
        owner = self.owner()
        found: tuple[Any, ...] | None = self.all(lambda w: w.begin(owner))
        if found is not None:
            id, early = found
            if early is None:
                self.begun(id, self.book[id])
            else:
                self.kept_from_running(id, self.book[id], early)
        return found

    def kept_from_running(self, id: str, account: Account, early: str) -> None:
        if "superseded" in early:
            newer = early.rpartition("call ")[2].rstrip("')")
            assert account.newest and int(newer[1:]) > int(id[1:]), "5: superseded by an older one"
        self.tally["superseded" if "superseded" in early else "busy"] += 1
        held = account.right and self.clock.now_ms() < account.deadline
        # What is put off waits, so it takes the key where that is free: after it had let go or lapsed, too.
        account.right = "Snooze" in early and self.mine(id)
        if "Snooze" in early:
            assert account.right or not held, "1: its lock is lost while it waits"
            account.deadline = self.record(id).due + TTL * 1000

    def begun(self, id: str, account: Account) -> None:
        now = self.clock.now_ms()
        lapsed = now >= account.deadline
        account.started = True
        if account.mode in ("start", "relock", "two", "one") and not account.rerun:
            account.right = False
            return
        account.right = self.mine(id)
        if account.newest and account.mode != "replace":
            account.deadline = now + TTL * 1000
        elif account.right and (lapsed or self.record(id).crashes):
            self.tally["late, and taken again"] += 1
            account.deadline = now + TTL * 1000
        elif lapsed:
            self.tally["late, and another's"] += 1

    def finish(self, pick: int, verdict: str) -> None:
        runs = list(self.worlds[0].runs)
        id = runs[pick % len(runs)]
        account = self.book[id]
        answer = self.all(lambda w: w.finish(id, VERDICTS[verdict]))
        assert answer == ("repeated" if self.worlds[0].engine.losing else "applied"), f"3: {answer}"
        if self.state(id) in LIVE:
            assert self.mine(id) or not account.right, "1: its lock is lost while it waits"
            account.right = self.mine(id)
            if account.right:
                account.deadline = self.record(id).due + TTL * 1000
        elif account.mode == "expiry" and isinstance(VERDICTS[verdict], Retry | Snooze):
            # It was to come again and keep its key until then; that it was cancelled or has expired was found just now.
            account.right = self.mine(id)
            account.deadline = self.clock.now_ms() + TTL * 1000

    def mine(self, id: str) -> bool:
        return any(value.holder == id for _, value in sorted(records(self.worlds[0].engine, "once:")))

    def die(self, pick: int) -> None:
        runs = list(self.worlds[0].runs)
        id = runs[pick % len(runs)]
        self.all(lambda w: w.die(id))

    def cancel(self, pick: int) -> None:
        live = [id for id in self.book if id in self.watched]
        if live:
            id = live[-1 - pick % len(live)]
            self.all(lambda w: w.engine.cancel(id))

    def replay(self, pick: int) -> None:
        dead = [id for id in self.book if self.state(id) == "failed"]
        id = dead[pick % len(dead)]
        account = self.book[id]
        before = [other for other in self.in_the_way(account.mode, account.key) if other != id]
        answer = self.all(lambda w: w.replay(id))
        self.tally["replayed" if answer is True else "not replayed"] += 1
        if answer is not True:
            assert answer in before, f"1: {answer} does not hold the key"
            return
        assert not before, f"1: replayed beside {before}"
        self.watched.add(id)
        account.right = account.replayed = True
        account.expires = NEVER
        account.deadline = self.clock.now_ms() + TTL * 1000

    def come_late(self, pick: int) -> None:
        """A settlement that was sent long ago arrives again, and a stranger lets go of what is not his."""
        ids = list(self.book)
        before = [w.seen(ids) for w in self.worlds]
        number = pick % len(self.worlds[0].sent)
        assert self.all(lambda w: w.come_late(number)), "3: what came late counted"
        assert [w.seen(ids) for w in self.worlds] == before, "3: what came late changed something"

    # --- what always holds ---

    def look(self) -> None:
        """After a step.  What has ended does not change by itself: that it did not is seen at the walk's end."""
        records, keys = self.all(lambda w: w.seen(sorted(self.watched)))
        for id in [id for id in self.watched if records[id][0] not in LIVE]:
            self.watched.discard(id)
            self.ended(id, *records[id][:2])
        self.what_ended_holds_nothing(keys)
        self.so_many_run_and_no_more()

    def ended(self, id: str, state: str, reason: str | None) -> None:
        """Whoever has ended it: its worker, the broker, an operator, time."""
        account = self.book[id]
        self.tally[" ".join([state, *(reason or "").split()[:1]])] += 1
        account.unwanted = reason in ("cancelled", "expired", "purged")
        if account.mode == "hold" and state == "failed":
            account.right = self.mine(id)
            account.deadline = self.clock.now_ms() + TTL * 1000
        elif account.mode != "expiry":
            account.right = False

    def what_ended_holds_nothing(self, keys: Sequence[tuple[Any, ...]]) -> None:
        for key, _, _, holder in keys:
            if key.startswith("once-last:"):
                continue
            account, state = self.book[holder], self.state(holder)
            meant = account.mode == "expiry" or (account.mode == "hold" and state == "failed")
            assert state in LIVE or meant, f"4: {holder} is {state} and holds {key}"
            assert not key.startswith("once-slot:") or state == "leased", "2: a slot of one that does not run"

    def so_many_run_and_no_more(self) -> None:
        running = Counter((self.book[id].mode, self.book[id].key) for id in self.worlds[0].runs)
        for (mode, _), count in running.items():
            assert count <= SLOTS.get(mode, count), "1: too many run"

    def all_ends(self) -> None:
        for world in self.worlds:
            world.engine.losing = False
        for id in list(self.worlds[0].runs):
            self.all(lambda w, id=id: w.finish(id, None))
        for _ in range(2_000):
            found = self.begin()
            if found is not None and found[1] is None:
                self.all(lambda w, id=found[0]: w.finish(id, None))
            self.look()
            if found is None:
                if not self.watched:
                    break
                due = min(self.record(id).due for id in self.watched)
                self.clock.advance(max(1, due - self.clock.now_ms()) / 1000)
        assert not self.watched, "2: not all ended"
        self.all(lambda w: w.seen(list(self.book)))
        self.the_last_call_ran()
        self.clock.advance(4 * TTL)  # what was cancelled while it waited for its retry keeps its expiry
        assert self.all(lambda w: sorted(records(w.engine, "once"))) == [], "2: something is left"

    def the_last_call_ran(self) -> None:
        last = {(a.mode, a.key): a for a in self.book.values() if a.mode in ("rerun", "debounce")}
        replayed = {(a.mode, a.key) for a in self.book.values() if a.replayed}
        for what, account in last.items():
            if not account.unwanted and what not in replayed:
                assert account.started, f"5: the last call of {what} did not run"
