"""The same SIGKILLs for reliq and its peers: what each loses, and what each does twice.

One of three worker process trees is killed about every second and started again, while tasks of a few milliseconds
note their start and their end in a journal.  A task is lost when its publish was confirmed and it never ended, though
everybody was given more time than their own recovery takes; all time-outs of the peers that are settings are shortened
for that, and said.  While nothing goes on the peers get a few other messages now and then: some recover only then.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.race import run as race
from benchmarks.race.interruption import ending_on_signals
from benchmarks.race.kills import WORKERS, Found, Plan, under_kills
from benchmarks.race.report import reliq_settings
from benchmarks.race.rig import Rig
from benchmarks.race.server import serving
from benchmarks.race.settings import Settings as RaceSettings
from benchmarks.race.settings import split
from benchmarks.race.sides import MORE, SIDES, Side

_RECOVERS = {"RACE_VISIBILITY": "10"}
HELP = {
    "only": "contestants that take part, say celery,reliq",
    "patience": "seconds without any progress after which what has not ended is called lost",
    "kills": "at most so many; they end when all tasks have",
    "milliseconds": "how long a task takes",
    "reliq_on": "redis, or sqlite to try this where reliq has no Redis",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """The flags of `python -m benchmarks faults_peers`."""

    tasks: int = 10_000
    milliseconds: float = 5.0
    kills: int = 20
    every: float = 1.0
    patience: float = 75.0
    seed: int = 1
    only: str = ""
    reliq_on: str = "redis"

    @property
    def plan(self) -> Plan:
        return Plan(
            tasks=self.tasks, milliseconds=self.milliseconds, kills=self.kills, every=self.every,
            patience=self.patience, seed=self.seed,
        )  # fmt: skip


@dataclass(slots=True)
class Outcome:
    """What became of the tasks of each contestant."""

    contestants: tuple[Side, ...]
    versions: dict[str, dict[str, str]]
    found: dict[str, Found] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


def contestants(only: str = "") -> tuple[Side, ...]:
    """Who takes part; `ValueError` names those there are."""
    side = {side.name: side for side in SIDES + MORE}
    everyone = (
        side["reliq"],
        replace(
            side["celery"], name="celery-default", acks="early", environment={"RACE_CELERY": "default", **_RECOVERS},
            settings="prefork, as it comes, but for visibility_timeout 10 s (it comes with an hour)",
        ),
        replace(
            side["celery"], environment=_RECOVERS,
            settings="prefork, acks_late, reject_on_worker_lost, prefetch 64, visibility_timeout 10 s",
        ),
        replace(
            side["dramatiq"], environment={**side["dramatiq"].environment, **_RECOVERS},
            settings="8 threads, queue_prefetch 200, heartbeat_timeout 10 s, maintenance in a tenth of all calls",
        ),
        replace(
            side["taskiq"], environment=_RECOVERS,
            settings="Redis stream, when_executed, idle_timeout 10 s, lock_timeout 10 s",
        ),
        replace(
            side["rq"], environment=_RECOVERS,
            settings="SimpleWorker, timeout 10 s, Retry(max=20), maintenance_interval 5 s",
        ),
        side["huey"],
    )  # fmt: skip
    wanted = split(only) or [one.name for one in everyone]
    if unknown := set(wanted) - {one.name for one in everyone}:
        there = ", ".join(one.name for one in everyone)
        raise ValueError(f"no contestant is named {', '.join(sorted(unknown))}; there are {there}")
    return tuple(one for one in everyone if one.name in wanted)


def run(settings: Settings, say: Callable[[str], None]) -> Outcome:
    """One contestant after the other.  Whatever was started has ended when this returns or raises."""
    chosen = contestants(settings.only)
    with ending_on_signals(), tempfile.TemporaryDirectory(prefix="reliq-faults-") as folder:
        outcome = Outcome(chosen, {side.name: race.versions_of(side, say) for side in chosen})
        with serving() as server:
            rig = Rig(RaceSettings(reliq_on=settings.reliq_on), server, Path(folder))
            for side in chosen:
                say(f"{settings.tasks} tasks under SIGKILL: {side.name}")
                try:
                    outcome.found[side.name] = under_kills(rig, side, settings.plan)
                except (RuntimeError, TimeoutError) as error:
                    outcome.failures.append(f"{side.name}: {error}")
                    say(outcome.failures[-1])
    return outcome


def as_data(outcome: Outcome, settings: Settings) -> dict[str, Any]:
    """Everything, for `--json`."""
    return {
        "settings": asdict(settings),
        "reliq": reliq_settings(),
        "contestants": {
            side.name: {
                "acks": side.acks,
                "settings": side.settings,
                "versions": outcome.versions[side.name],
                **(asdict(outcome.found[side.name]) if side.name in outcome.found else {}),
            }
            for side in outcome.contestants
        },
        "failures": outcome.failures,
    }


def as_text(outcome: Outcome, settings: Settings) -> Iterator[str]:
    """The tables."""
    yield "  ".join(f"{name}={value}" for name, value in asdict(settings).items())
    yield f"{WORKERS} workers of one process each; one of them is killed with all its children, and started again"
    yield ""
    for side in outcome.contestants:
        package = side.requirements[0] if side.requirements else "this tree"
        yield f"{side.name:<16}{package:<18}{side.acks:<14}{side.settings}"
    yield "reliq's workers: " + ", ".join(f"{name} {value}" for name, value in reliq_settings().items())
    yield ""
    heads = ("confirmed", "lost", "cut short", "run again", "done twice", "kills", "seconds")
    yield f"{'':<16}" + "".join(f"{head:>12}" for head in heads)
    for name, found in outcome.found.items():
        cells = (found.confirmed, found.lost, found.cut, found.duplicated, found.repeated, found.kills)
        yield f"{name:<16}" + "".join(f"{cell:>12,}" for cell in cells) + f"{found.seconds:>12.0f}"
        for invariant, what in found.broken[:5]:
            yield f"{'':<16}BROKEN {invariant}: {what}"
    for failure in outcome.failures:
        yield f"FAILED: {failure}"
