"""The engines that every plug-in is tried on, with a clock that only the test moves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reliq.plugins import open_engine
from reliq.ports.broker import Engine
from reliq.testing import VirtualClock


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture(params=["memory", "sqlite"])
def engine(request: pytest.FixtureRequest, clock: VirtualClock, tmp_path: Path) -> Iterator[Engine]:
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/reliq.db?durability=off"
    engine = open_engine(url, app="shop", clock=clock)
    yield engine
    engine.close()
