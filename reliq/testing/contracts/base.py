"""What all contract classes share: the fixtures, and the books that are checked after each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest

from reliq.ports.broker import Engine
from reliq.testing.contracts.bench import Bench, needs

__all__ = ["Contract", "MovableClock", "needs"]


class MovableClock(Protocol):
    """The time that the engine goes by, in the hands of the test; `reliq.testing.VirtualClock` is one."""

    def now_ms(self) -> int: ...

    def advance(self, seconds: float) -> None: ...


class Contract:
    """Override `engine`; override `clock` and `reopen` where the engine can have them."""

    @pytest.fixture
    def engine(self) -> Any:
        """An empty engine for one test, closed afterwards."""
        raise NotImplementedError(f"{type(self).__name__} must have a fixture `engine`")

    @pytest.fixture
    def clock(self) -> Any:
        """The clock that `engine` goes by, a `MovableClock`."""
        pytest.skip("the engine's time cannot be moved")

    @pytest.fixture
    def reopen(self) -> Callable[[], Engine]:
        """Close the engine, open its data again and give the new one; for engines that survive a restart."""
        pytest.skip("the engine does not survive a restart")

    @pytest.fixture
    def bench(self, engine: Engine) -> Iterator[Bench]:
        """The engine in few words; when the test is over its books must balance."""
        bench = Bench(engine)
        yield bench
        bench.check_books()
