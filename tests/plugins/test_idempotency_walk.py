"""The random walk of idempotency over the model, memory, SQLite and Redis."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.plugins.emptied import Ground
from tests.plugins.idempotency_walking import IdempotencyWalk, World, draw
from tests.plugins.walks import numbers, walk

WALKS, PARTS = 120, 1
COMES_ABOUT = {
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


@pytest.fixture
def ground(tmp_path: Path, reliq_redis: Any, caplog: pytest.LogCaptureFixture) -> Iterator[Ground]:
    caplog.set_level(logging.CRITICAL)  # failures are told by the thousand
    ground = Ground(tmp_path, reliq_redis)
    yield ground
    ground.close()


def walk_on(ground: Ground) -> IdempotencyWalk:
    return IdempotencyWalk([World(name, ground.clock) for name in ground.names], ground.clock)


@pytest.mark.timeout(600)  # a failure is made short before it is told
@pytest.mark.parametrize("part", range(PARTS))
def test_a_hundred_and_twenty_walks(ground, part):
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
