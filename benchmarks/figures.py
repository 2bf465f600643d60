"""Figures: samples of one quantity over the rounds, told as their median and spread."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Figure:
    """The samples of one quantity, one per round."""

    name: str
    unit: str
    samples: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def spread(self) -> float:
        """(largest - smallest) / median."""
        return (max(self.samples) - min(self.samples)) / self.median if self.median else 0.0


class Figures:
    """All figures of a run, in the order of their first sample."""

    def __init__(self) -> None:
        self._by_name: dict[str, Figure] = {}

    def add(self, name: str, unit: str, sample: float) -> None:
        self._by_name.setdefault(name, Figure(name, unit)).samples.append(sample)

    def get(self, name: str) -> float | None:
        """The median of `name`, None when it was not measured."""
        figure = self._by_name.get(name)
        return figure.median if figure else None

    def ratio(self, name: str, over: str) -> float | None:
        """The median of the rounds' ratios: what slowed a whole round down slowed both sides down.

        Where one side lacks a round it is the ratio of the medians; None for a side that was not measured, or is 0.
        """
        upper, lower = self._by_name.get(name), self._by_name.get(over)
        if upper is None or lower is None or not all(lower.samples):
            return None
        if len(upper.samples) != len(lower.samples):
            return upper.median / lower.median
        return statistics.median(a / b for a, b in zip(upper.samples, lower.samples, strict=True))

    def __iter__(self) -> Iterator[Figure]:
        return iter(self._by_name.values())


def readable(value: float) -> str:
    """For people."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def percentile(samples: list[float], share: float) -> float:
    """The smallest sample that at least `share` of all do not exceed."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered)) - 1))]
