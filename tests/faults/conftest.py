"""Fixtures of the fault tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.rig import Rig

SEED = int(os.environ.get("RELIQ_TEST_SEED", "20260101"))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A fresh rig; RELIQ_TEST_SEED repeats a run."""
    rig = Rig(tmp_path, seed=SEED)
    print(f"seed {SEED}")
    yield rig
    rig.close()
