"""SIGKILL for one of three worker trees, again and again, and what their journal tells afterwards."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks.race.apps.notes import JOURNAL
from benchmarks.race.programs import Program
from benchmarks.race.rig import Rig
from benchmarks.race.sides import Side
from reliq.plugins import open_engine
from reliq.ports.broker import Engine
from reliq.testing.faults import Fact, Journal, Killer, check, read
from reliq.testing.faults.journal import Reader

WORKERS = 3
_POKE_AFTER = 5.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How much there is to do, and how often somebody is killed meanwhile.

    patience  seconds without any progress after which what has not ended is called lost
    calm      seconds in which nothing may start before the run is over
    """

    tasks: int = 10_000
    milliseconds: float = 5.0
    kills: int = 20
    every: float = 1.0
    patience: float = 75.0
    calm: float = 20.0
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Found:
    """What the journal says.  A task is lost when it was confirmed to its publisher and never came to its end."""

    confirmed: int
    lost: int
    duplicated: int  # starts beyond the first of a task
    repeated: int  # ends beyond the first of a task: work that had been done was done again
    cut: int  # tasks that were running in a killed process: so many had to run again
    kills: int
    seconds: float  # from the first start to the last end
    broken: tuple[tuple[str, str], ...] = ()  # reliq's own check: (invariant, what broke it)


def under_kills(rig: Rig, side: Side, plan: Plan) -> Found:
    """Run the plan on one side."""
    with rig.measuring(), ExitStack() as stack:
        journal = Journal(rig.folder / "journal")
        stack.callback(journal.close)
        rig.environment[JOURNAL] = str(journal.path)
        rig.produce(side, "journal", plan.tasks, plan.milliseconds / 1000)
        engine = (
            stack.enter_context(closing(open_engine(rig.reliq_url, app="race"))) if _checked(side) else None
        )
        fleet = _Fleet(rig, side, stack)
        watch = _Watch(journal.path, poke=None if _checked(side) else lambda: _poke(rig, side))
        with Killer(
            fleet.pids,
            seed=plan.seed,
            every=plan.every,
            times=plan.kills,
            journal=journal,
            after=fleet.replace,
            leased=None if engine is None else lambda pids: _held(engine, pids),
        ) as killer:
            watch.until_ended(plan.tasks, plan.patience)
        watch.until_calm(plan, engine)
        if not watch.ended:
            raise RuntimeError(f"{side.name}: no task ended in {plan.patience:.0f} s:\n{fleet.tail()}")
        fleet.stop()
        facts = read(journal.path)
        broken = () if engine is None else tuple(check(facts, engine, max_crashes=20).broken)
        return judge(facts, kills=killer.acted, broken=broken)


def judge(facts: Sequence[Fact], *, kills: int, broken: tuple[tuple[str, str], ...] = ()) -> Found:
    """What the journal says, by itself."""
    starts = Counter(fact.id for fact in facts if fact.kind == "started")
    ends = Counter(fact.id for fact in facts if fact.kind == "ended")
    confirmed = {fact.id for fact in facts if fact.kind == "confirmed"}
    first = min((fact.at for fact in facts if fact.kind == "started"), default=0.0)
    last = max((fact.at for fact in facts if fact.kind == "ended"), default=first)
    return Found(
        confirmed=len(confirmed),
        lost=len(confirmed - ends.keys()),
        duplicated=sum(times - 1 for times in starts.values()),
        repeated=sum(times - 1 for times in ends.values()),
        cut=_cut(facts),
        kills=kills,
        seconds=last - first,
        broken=broken,
    )


def _cut(facts: Sequence[Fact]) -> int:
    running: dict[str, int] = {}
    cut = 0
    for fact in facts:
        if fact.kind == "started":
            running[fact.id] = fact.pid
        elif fact.kind == "ended":
            running.pop(fact.id, None)
        elif fact.kind == "killed":
            dead = {int(pid) for pid in fact.details.get("pids", "").split(",") if pid}
            ended = [id for id, pid in running.items() if pid in dead]
            cut += len(ended)
            for id in ended:
                del running[id]
    return cut


class _Fleet:
    """Three workers; a new one for each that is killed."""

    def __init__(self, rig: Rig, side: Side, stack: ExitStack) -> None:
        self._start: Callable[[], list[Program]] = lambda: stack.enter_context(rig.working(side))
        self._workers = [self._start() for _ in range(WORKERS)]

    def pids(self) -> list[int]:
        return [programs[0].pid for programs in self._workers if programs[0].running]

    def replace(self, pid: int) -> None:
        gone = next(programs for programs in self._workers if programs[0].pid == pid)
        gone[0].kill()
        self._workers[self._workers.index(gone)] = self._start()

    def stop(self) -> None:
        for programs in self._workers:
            programs[0].ask_to_stop()
        for programs in self._workers:
            programs[0].stop()

    def tail(self) -> str:
        return self._workers[0][0].tail()


class _Watch:
    """Reads the journal while the tasks write it.

    poke  called every few seconds without progress.  Some look for what the dead held only when something new comes,
          as it does in a system that lives; the peers are given that, reliq is not.
    """

    def __init__(self, path: Path, *, poke: Callable[[], object] | None) -> None:
        self._reader = Reader(path)
        self._poke = poke
        self._progress = time.monotonic()
        self.ended: set[str] = set()

    def until_ended(self, number: int, patience: float) -> None:
        """Until so many tasks have ended, or none has started or ended for as long."""
        until = time.monotonic() + patience
        while len(self.ended) < number and time.monotonic() < until:
            if self._look():
                until = time.monotonic() + patience
            time.sleep(0.05)

    def until_calm(self, plan: Plan, engine: Engine | None) -> None:
        """Until what is run again has been: reliq says itself that nothing is left, for others it is calm."""
        until = time.monotonic() + (plan.calm if engine is None else plan.patience)
        while time.monotonic() < until and not (engine is not None and _left(engine) == 0):
            if self._look():
                until = time.monotonic() + (plan.calm if engine is None else plan.patience)
            time.sleep(0.2)

    def _look(self) -> bool:
        new = [fact for fact in self._reader.new() if fact.kind in ("started", "ended")]
        self.ended.update(fact.id for fact in new if fact.kind == "ended")
        if new:
            self._progress = time.monotonic()
        elif self._poke and time.monotonic() > self._progress + _POKE_AFTER:
            self._poke()
            self._progress = time.monotonic()
        return bool(new)


def _poke(rig: Rig, side: Side) -> None:
    """A few new messages, of another task."""
    rig.produce(side, "publish", "no_op", WORKERS, 1)


def _checked(side: Side) -> bool:
    return side.name == "reliq"


def _left(engine: Engine) -> int:
    return sum(d.ready + d.due + d.leased for d in map(engine.depth, engine.queues()))


def _held(engine: Engine, pids: Sequence[int]) -> int:
    return sum(owner.held for owner in engine.owners() if int(owner.owner.split(":")[1]) in pids)
