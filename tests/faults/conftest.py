"""Fixtures of the fault tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.grounds import Ground, RedisGround, lay
from tests.faults.rig import Proxied, Rig

SEED = int(os.environ.get("RELIQ_TEST_SEED", "20260101"))


@pytest.fixture(params=["sqlite", "redis"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    """A broker of the test's own; a file that is about one broker overrides this."""
    ground = lay(request.param, tmp_path)
    yield ground
    ground.close()


@pytest.fixture
def rig(tmp_path: Path, ground: Ground) -> Iterator[Rig]:
    """A fresh rig; RELIQ_TEST_SEED repeats a run."""
    rig = Rig(tmp_path, ground, seed=SEED)
    print(f"seed {SEED}")
    yield rig
    rig.close()


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[Proxied]:
    """A fresh rig on Redis, with a proxy before it."""
    ground = RedisGround()
    rig = Proxied(tmp_path, ground, seed=SEED)
    print(f"seed {SEED}")
    yield rig
    rig.close()
    ground.close()
