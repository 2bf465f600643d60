"""Contract suites: what every broker, store, engine and middleware must do, as tests to inherit from.

    from reliq.testing.contracts import BrokerContract, EngineContract, StoreContract

    class TestMine(BrokerContract, StoreContract, EngineContract):
        @pytest.fixture
        def clock(self): return VirtualClock()

        @pytest.fixture
        def engine(self, clock, tmp_path):
            engine = connect("mine://...", clock=clock)     # empty, for this test alone
            yield engine
            engine.close()

        @pytest.fixture
        def reopen(self, engine, ...): ...                  # only where data survives: see `Contract`

Tests of what `engine.capabilities` does not have are skipped; without a clock that can be moved, so are those that
need one.  `model` has the same rules as plain Python, to walk beside an engine.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("reliq.testing.contracts")

from reliq.testing.contracts.bench import Bench, Hand  # noqa: E402
from reliq.testing.contracts.broker import BrokerContract  # noqa: E402
from reliq.testing.contracts.engine import EngineContract  # noqa: E402
from reliq.testing.contracts.middleware import MiddlewareContract  # noqa: E402
from reliq.testing.contracts.store import StoreContract  # noqa: E402

__all__ = ["Bench", "BrokerContract", "EngineContract", "Hand", "MiddlewareContract", "StoreContract"]
