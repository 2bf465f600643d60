"""The contract suites, run for the engines of this package."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest

from reliq.policy.clock import VirtualClock
from reliq.ports.broker import Engine
from reliq.testing.contracts import BrokerContract, EngineContract, StoreContract
from reliq.testing.contracts.blocking import Blocking


class EngineTests(BrokerContract, StoreContract, EngineContract):
    """All contracts of an engine that goes by a virtual clock."""

    @pytest.fixture
    def clock(self) -> VirtualClock:
        return VirtualClock()


class TestMemory(EngineTests):
    @pytest.fixture
    def engine(self, clock: VirtualClock) -> Iterator[Engine]:
        engine = import_module("reliq.engines.memory").connect("memory://", clock=clock)
        yield engine
        engine.close()


class TestMemoryByTheSystemClock(Blocking):
    """Blocked calls sleep until they are woken; nothing looks at a clock meanwhile."""

    @pytest.fixture
    def engine(self) -> Iterator[Engine]:
        engine = import_module("reliq.engines.memory").connect("memory://")
        yield engine
        engine.close()


class TestSqliteByTheSystemClock(Blocking):
    """Likewise."""

    @pytest.fixture
    def engine(self, tmp_path: Path) -> Iterator[Engine]:
        engine = import_module("reliq.engines.sqlite").connect(f"sqlite:///{tmp_path}/reliq.db")
        yield engine
        engine.close()


class TestSqlite(EngineTests):
    @pytest.fixture
    def opened(self, clock: VirtualClock, tmp_path: Path) -> Iterator[Callable[[], Engine]]:
        """Open the file again; the one before is closed."""
        engines: list[Engine] = []

        def open() -> Engine:
            if engines:
                engines[-1].close()
            engines.append(
                import_module("reliq.engines.sqlite").connect(f"sqlite:///{tmp_path}/reliq.db", clock=clock)
            )
            return engines[-1]

        yield open
        for engine in engines:
            engine.close()

    @pytest.fixture
    def engine(self, opened: Callable[[], Engine]) -> Engine:
        return opened()

    @pytest.fixture
    def reopen(self, engine: Engine, opened: Callable[[], Engine]) -> Callable[[], Engine]:
        return opened
