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


@pytest.fixture(params=["memory", "sqlite", "redis"])
def engine(request: pytest.FixtureRequest, clock: VirtualClock, tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(url_of(request, tmp_path), app="shop", clock=clock)
    yield engine
    engine.close()


def url_of(request: pytest.FixtureRequest, folder: Path) -> str:
    """An empty broker of the kind that the test is run for."""
    if request.param == "redis":
        server = request.getfixturevalue("reliq_redis")
        server.flush()
        return str(server.url)
    return {"memory": "memory://", "sqlite": f"sqlite:///{folder}/reliq.db?durability=off"}[request.param]
