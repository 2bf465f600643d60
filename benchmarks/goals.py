"""What the figures should be.  Ratios to a peer or to a bare loop of the same run, wherever there is one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from benchmarks.figures import Figures
from benchmarks.sqlite import DURABILITIES


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure, or the ratio of two, and what it should be at least or at most."""

    text: str
    figure: str
    sign: Literal[">=", "<="]
    wanted: float
    over: str | None = None

    def value(self, figures: Figures) -> float | None:
        """The median over the rounds; None when it was not measured."""
        return figures.get(self.figure) if self.over is None else figures.ratio(self.figure, self.over)

    def met(self, figures: Figures) -> bool | None:
        value = self.value(figures)
        if value is None:
            return None
        return value >= self.wanted if self.sign == ">=" else value <= self.wanted


def goals() -> Iterator[Goal]:
    yield Goal("drain / huey, durability off", "drain, reliq, off", ">=", 2.0, "drain, huey, off")
    for durability in DURABILITIES:
        yield Goal(
            f"drain / bare loop, durability {durability}",
            f"drain, reliq, {durability}",
            ">=",
            0.30,
            f"drain, bare loop, {durability}",
        )
    huey = "publish one by one, huey, off"
    yield Goal(
        "publish one by one / huey, durability off", "publish one by one, reliq, off", ">=", 0.75, huey
    )
    yield Goal(
        "publish in bulk / huey one by one, durability off", "publish in bulk, reliq, off", ">=", 2.0, huey
    )
    for durability in DURABILITIES:
        yield Goal(
            f"publish in bulk / bare loop, durability {durability}",
            f"publish in bulk, reliq, {durability}",
            ">=",
            0.40,
            f"publish in bulk, bare loop, {durability}",
        )
    yield Goal("larger share of 2 processes", "larger share of 2 processes, reliq, normal", "<=", 0.60)
    yield Goal("idle latency p50, ms", "idle latency p50", "<=", 5)
    yield Goal("idle latency p99, ms", "idle latency p99", "<=", 20)
    yield Goal("idle worker, % of a core", "idle worker", "<=", 1)
    yield Goal("child, resident MB", "child, resident", "<=", 45)
    yield Goal(
        "memory of a worker while many wait / none", "memory of a worker, many wait", "<=", 1.02,
        "memory of a worker, none waits",
    )  # fmt: skip
    yield Goal("drain while many wait / none", "drain, many wait", ">=", 0.90, "drain, none waits")
    yield Goal("import reliq, ms", "import reliq", "<=", 60)
    yield Goal("reliq --help, ms", "reliq --help", "<=", 200)
    yield Goal("async tasks of 1 s, all at once, s", "async tasks of 1 s, all at once", "<=", 3)
