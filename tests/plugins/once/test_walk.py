"""The random walk of QueueOnce over the model, memory, SQLite and Redis."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reliq_once import starting
from tests.plugins.emptied import Ground
from tests.plugins.once.walking import OnceWalk, draw
from tests.plugins.once.worlds import World
from tests.plugins.walks import numbers, walk

WALKS, PARTS = 500, 4
COMES_ABOUT = {
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


@pytest.fixture
def ground(
    tmp_path: Path, reliq_redis: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[Ground]:
    monkeypatch.setattr(starting, "random", SimpleNamespace(uniform=lambda low, high: 1.0))
    caplog.set_level(logging.CRITICAL)  # lapses are told by the thousand
    ground = Ground(tmp_path, reliq_redis)
    yield ground
    ground.close()


def walk_on(ground: Ground) -> OnceWalk:
    return OnceWalk([World(name, ground.clock) for name in ground.names], ground.clock)


@pytest.mark.timeout(600)  # a failure is made short before it is told
@pytest.mark.parametrize("part", range(PARTS))
def test_five_hundred_walks(ground, part):
    """In parts, so that they can be taken side by side."""
    walker = walk_on(ground)
    these = range(part * WALKS // PARTS, (part + 1) * WALKS // PARTS)
    walk(lambda steps: walker.take(ground.fresh(), steps), draw, these)
    assert COMES_ABOUT - walker.tally.keys() == set()


@pytest.mark.full
@pytest.mark.timeout(36_000)
def test_long_walk(ground):
    """Twenty thousand; `nox -s walks`."""
    walker = walk_on(ground)
    walk(lambda steps: walker.take(ground.fresh(), steps), draw, numbers(20_000))
