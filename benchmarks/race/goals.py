"""What the figures should be: ratios to the best peer or to a bare loop of the same run, wherever there is one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.figures import Figures
from benchmarks.goals import Goal

_ONE, _TWO = "drain, 1 process", "drain, 2 processes"
_BULK = "publish in bulk"
IN_TURN = "publish one by one, in turn"


def best(figures: Figures, what: str, peers: Sequence[str]) -> str:
    """The peer with the highest median; "no peer" when none was measured."""
    found = {peer: figures.get(f"{what}, {peer}") for peer in peers}
    measured = {peer: value for peer, value in found.items() if value is not None}
    return max(measured, key=measured.__getitem__, default="no peer")


def goals(figures: Figures, peers: Sequence[str]) -> Iterator[Goal]:
    """The goals, the best peer of each being the one of this run."""

    def beside(what: str, wanted: float, note: str = "") -> Goal:
        peer = best(figures, what, peers)
        return Goal(f"{what} / best peer, {peer}{note}", f"{what}, reliq", ">=", wanted, f"{what}, {peer}")

    yield beside(_ONE, 10)
    yield beside(_ONE, 20, " (aim)")
    yield Goal("drain, 1 process, /s (a million a minute)", f"{_ONE}, reliq", ">=", 16_700)
    yield beside(_TWO, 10)
    yield Goal("publish one by one / bare RPUSH", f"{IN_TURN}, reliq", ">=", 0.75, f"{IN_TURN}, bare")
    yield beside(_BULK, 5)
    yield Goal("idle latency p50, ms", "idle latency p50, reliq", "<=", 0.5)
    yield Goal("idle latency p99, ms", "idle latency p99, reliq", "<=", 1.5)
    for name, wanted in (("p50", 1.79), ("p99", 2.5)):  # 0.5 and 1.5 ms, where a BLPOP loop took 0.28 and 0.6
        latency = f"idle latency {name}"
        yield Goal(f"{latency} / bare BLPOP", f"{latency}, reliq", "<=", wanted, f"{latency}, bare")
    cpu = "1 ms of CPU, 2 processes"
    yield Goal(f"{cpu} / nothing else", f"{cpu}, reliq", ">=", 0.95, f"{cpu}, bare")
    yield Goal("1 ms of CPU, 2 processes, /s (95 % of 2,000)", "1 ms of CPU, 2 processes, reliq", ">=", 1_900)
    for when in ("", " while busy"):
        yield Goal(f"lateness{when} p50, ms", f"lateness{when} p50, reliq", "<=", 20)
        yield Goal(f"lateness{when} p99, ms", f"lateness{when} p99, reliq", "<=", 100)
    yield Goal(
        "drain while many wait / none", "drain, many wait, reliq", ">=", 0.9, "drain, none waits, reliq"
    )
    yield Goal(
        "memory of a worker while many wait / none", "memory of a worker, many wait, reliq", "<=", 1.02,
        "memory of a worker, none waits, reliq",
    )  # fmt: skip
    yield Goal("memory of an idle child, MB", "memory of an idle child, reliq", "<=", 50)
    yield Goal("its growth by many tasks, MB", "memory of a child, more after many tasks, reliq", "<=", 2)
    yield Goal("idle workers, KB/s each", "idle workers, each, reliq", "<=", 2)
    yield Goal("idle workers, server, % of a core", "idle workers, the server, reliq", "<=", 1)
    yield Goal("bytes per task / celery", "bytes per task, reliq", "<=", 0.5, "bytes per task, celery")
    yield Goal("lost under SIGKILL", "lost under SIGKILL, reliq", "<=", 0)
    yield Goal("rules broken under SIGKILL", "rules broken under SIGKILL, reliq", "<=", 0)
