"""How much of everything is measured; the goals are stated for the defaults."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """The flags of `python -m benchmarks race`."""

    rounds: int = 3
    messages: int = 50_000
    batch: int = 100
    samples: int = 500
    pause: float = 0.05
    burns: int = 6_000
    due: int = 5_000
    due_in: float = 5.0
    waiting: int = 1_000_000
    many: int = 1_000_000
    idle_workers: int = 50
    idle_seconds: float = 30.0
    fault_tasks: int = 3_000
    seed: int = 1
    only: str = ""
    also: str = ""
    measures: str = ""
    reliq_on: str = "redis"

    @property
    def steps(self) -> tuple[str, ...]:
        """The measures that are asked for; empty for all."""
        return split(self.measures)


HELP = {
    "only": "sides that take part, say celery,reliq (default: bare and reliq, and four peers)",
    "also": "sides that take part besides: celery-solo, arq, rq, saq, streaq",
    "measures": "only these: throughput, publish, latency, cpu, lateness, variants, waiting, memory, idle, faults",
    "reliq_on": "redis, or sqlite to try the race where reliq has no Redis",
    "due": "messages that are due later, for the lateness",
    "due_in": "seconds until they are due",
    "waiting": "messages that wait while others are claimed",
    "many": "tasks after which the memory of a child is looked at again",
    "pause": "mean seconds between two samples of the idle latency",
    "burns": "tasks of one millisecond of processor time",
}


def split(names: str) -> tuple[str, ...]:
    """`a, b` as ("a", "b")."""
    return tuple(name.strip() for name in names.split(",") if name.strip())
