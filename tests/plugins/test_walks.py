"""The random walks of QueueOnce and of idempotency over the model, memory, SQLite and Redis."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reliq_once import starting
from tests.plugins import idempotency_walking
from tests.plugins.emptied import Ground
from tests.plugins.once import walking, worlds
from tests.plugins.walks import numbers, walk

WALKS, PARTS = 500, 4


@dataclass(frozen=True)
class Kind:
    """What is walked.

    walker       takes the walks on worlds of this `world`
    comes_about  what must have come about in each part of the walks: else they show less than they seem to
    """

    walker: Callable[..., Any]
    world: Callable[..., Any]
    draw: Callable[..., Any]
    comes_about: frozenset[str]

    def on(self, ground: Ground) -> Any:
        return self.walker([self.world(name, ground.clock) for name in ground.names], ground.clock)


KINDS = {
    "once": Kind(
        walking.OnceWalk,
        worlds.World,
        walking.draw,
        frozenset(
            {
                "accepted",
                "refused",
                "rejected",
                "joined",
                "replaced",
                "superseded",
                "busy",
                "replayed",
                "not replayed",
                "late, and taken again",
                "late, and another's",
                "done",
                "failed said",
                "failed crashed",
                "dropped said",
                "dropped cancelled",
                "dropped expired",
                "dropped purged",
            }
        ),
    ),
    "idempotency": Kind(
        idempotency_walking.IdempotencyWalk,
        idempotency_walking.World,
        idempotency_walking.draw,
        frozenset(
            {
                "waits",
                "joined",
                "mismatch",
                "ended",
                "replay: True",
                "replay: refused",
                "ran",
                "was kept from running",
                "applied",
                "stale",
                "done",
                "failed no",
                "failed crashed",
                "dropped no",
                "dropped cancelled",
                "dropped purged",
            }
        ),
    ),
}


@pytest.fixture
def ground(
    tmp_path: Path, reliq_redis: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[Ground]:
    monkeypatch.setattr(starting, "random", SimpleNamespace(uniform=lambda low, high: 1.0))
    caplog.set_level(logging.CRITICAL)  # lapses and failures are told by the thousand
    ground = Ground(tmp_path, reliq_redis)
    yield ground
    ground.close()


@pytest.mark.timeout(600)  # a failure is made short before it is told
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("kind", KINDS)
def test_walks(ground: Ground, kind: str, part: int) -> None:
    """Five hundred of each kind, in parts, so that they can be taken side by side."""
    walker = KINDS[kind].on(ground)
    these = range(part * WALKS // PARTS, (part + 1) * WALKS // PARTS)
    walk(lambda steps: walker.take(ground.fresh(), steps), KINDS[kind].draw, these)
    assert KINDS[kind].comes_about - walker.tally.keys() == set()


@pytest.mark.full
@pytest.mark.timeout(36_000)
@pytest.mark.parametrize("kind", KINDS)
def test_long_walks(ground: Ground, kind: str) -> None:
    """Twenty thousand of each; `nox -s walks`."""
    walker = KINDS[kind].on(ground)
    walk(lambda steps: walker.take(ground.fresh(), steps), KINDS[kind].draw, numbers(20_000))
